#!/usr/bin/env bash
# go-command.sh OUT MODULE VERSION PACKAGE [FLAG...]: builds a command of a Go module at an exact version, as the file OUT.
# It is built from a throw-away module, because `go install` refuses a module with replace directives. It must never leave that behind.
set -euo pipefail
out=$1 module=$2 version=$3 package=$4
shift 4
here=$(cd "$(dirname "$0")" && pwd)
throwaway=$(mktemp -d)
trap 'rm -rf "$throwaway"' EXIT
python3 "$here/throwaway_module.py" "$module" "$version" "$throwaway"
cd "$throwaway"
CGO_ENABLED=0 GOFLAGS="-mod=mod -buildvcs=false" go build -trimpath -ldflags "-s -w" "$@" -o "$out" "$module/$package"
