#!/usr/bin/env bash
# Writes kube/go.mod anew for the KUBERNETES_VERSION of settings.sh, with Kubernetes' own modules at that version. Run by hand
# to move to another Kubernetes; nothing calls it. It must never choose a version by itself.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../settings.sh"
export GOFLAGS=-mod=mod
cd "$here/kube"
go_mod=$(go mod download -json "k8s.io/kubernetes@$KUBERNETES_VERSION" |
  python3 -c 'import json, sys; print(json.load(sys.stdin)["GoMod"])')
{
  printf 'module kube\n\n'
  sed -n 's/^go /go /p;/^godebug /p' "$go_mod"
  printf '\nreplace (\n'
  sed -n "s#^\t\(k8s.io/[^ ]*\) => ./staging/.*#\t\1 => \1 v0.${KUBERNETES_VERSION#v1.}#p" "$go_mod"
  printf ')\n\nrequire k8s.io/kubernetes %s\n' "$KUBERNETES_VERSION"
} >go.mod
go mod tidy
