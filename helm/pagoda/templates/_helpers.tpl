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

{{- define "pagoda.controlImage" -}}
{{- printf "%s:%s" .Values.image.control.repository (default .Chart.AppVersion .Values.image.control.tag) -}}
{{- end -}}

{{- define "pagoda.serverImage" -}}
{{- printf "%s:%s" .Values.image.server.repository (default .Chart.AppVersion .Values.image.server.tag) -}}
{{- end -}}

{{- define "pagoda.pullSecretNames" -}}
{{- range $index, $secret := . }}{{ if $index }},{{ end }}{{ $secret.name }}{{ end -}}
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
