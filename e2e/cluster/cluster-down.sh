#!/usr/bin/env bash
# cluster-down.sh: stop the e2e cluster. Nothing of it stays but the caches in $CLUSTER_HOME (binaries, images, the registry's folder).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd); . "$here/settings.sh"
"$here/down.sh"
say "the cluster is gone"
