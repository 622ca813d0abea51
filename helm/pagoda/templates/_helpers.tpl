{{- define "pagoda.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "pagoda.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains (include "pagoda.name" .) .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "pagoda.name" .) | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "pagoda.selectorLabels" -}}
app.kubernetes.io/name: {{ include "pagoda.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "pagoda.labels" -}}
{{ include "pagoda.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: pagoda
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "pagoda.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "pagoda.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name: empty while serviceAccount.create is false: name the ServiceAccount to use" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- /* The image of one of image.control and image.server. A registry takes the place of the repository's own; a digest goes before a tag. */ -}}
{{- define "pagoda.image" -}}
{{- $image := .image -}}
{{- $repository := $image.repository -}}
{{- $registry := default .root.Values.image.registry (.root.Values.global).imageRegistry -}}
{{- if $registry -}}
{{- $first := splitList "/" $repository | first -}}
{{- if and (contains "/" $repository) (or (contains "." $first) (contains ":" $first) (eq $first "localhost")) -}}
{{- $repository = trimPrefix (printf "%s/" $first) $repository -}}
{{- end -}}
{{- $repository = printf "%s/%s" (trimSuffix "/" $registry) $repository -}}
{{- end -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (default .root.Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "pagoda.controlImage" -}}
{{- include "pagoda.image" (dict "root" . "image" .Values.image.control) -}}
{{- end -}}

{{- define "pagoda.serverImage" -}}
{{- include "pagoda.image" (dict "root" . "image" .Values.image.server) -}}
{{- end -}}

{{- /* global.imagePullSecrets and imagePullSecrets as one list, each name once. */ -}}
{{- define "pagoda.imagePullSecrets" -}}
{{- $names := list -}}
{{- range concat (default list (.Values.global).imagePullSecrets) .Values.imagePullSecrets -}}
{{- if kindIs "string" . -}}
{{- $names = append $names . -}}
{{- else -}}
{{- $names = append $names .name -}}
{{- end -}}
{{- end -}}
{{- range $names | uniq }}
- name: {{ . }}
{{- end -}}
{{- end -}}

{{- define "pagoda.pullSecretNames" -}}
{{- range $index, $secret := . }}{{ if $index }},{{ end }}{{ $secret.name }}{{ end -}}
{{- end -}}

{{- /* Values as JSON in a variable. NB: Kubernetes would put other variables in the place of $(NAME). */ -}}
{{- define "pagoda.json" -}}
{{- toJson (default dict .) | replace "$(" "$$(" | quote -}}
{{- end -}}

{{- /* Not empty where ClusterRoles are made. NB: with helm's --reuse-values a new value is not there, not even its default. */ -}}
{{- define "pagoda.clusterRoles" -}}
{{- if and .Values.rbac.create (ne (toString .Values.rbac.clusterRoles) "false") -}}true{{- end -}}
{{- end -}}

{{- define "pagoda.metricsApiService" -}}
{{- printf "%s-metrics-api" (include "pagoda.fullname" .) -}}
{{- end -}}

{{- define "pagoda.tlsSecret" -}}
{{- /* The operator derives the same name from PAGODA_METRICS_SERVICE. */ -}}
{{- printf "%s-metrics-tls" (include "pagoda.metricsApiService" .) -}}
{{- end -}}

{{- define "pagoda.runbookUrl" -}}
{{- /* As build_runbook_url of the operator gives it. */ -}}
https://github.com/pagoda-dev/pagoda/blob/main/docs/runbooks/{{ . }}.md
{{- end -}}

{{- define "pagoda.lease" -}}
{{- printf "%s-leader" (include "pagoda.fullname" .) -}}
{{- end -}}

{{- define "pagoda.isOpenShift" -}}
{{- /* Not empty where the platform chooses the uids of pods. */ -}}
{{- $found := .Capabilities.APIVersions.Has "security.openshift.io/v1" -}}
{{- if or (eq (toString .Values.openshift) "true") (and (eq (toString .Values.openshift) "auto") $found) }}true{{ end -}}
{{- end -}}
