#!/usr/bin/env bash
# Ends the cluster of the stories; all that is in it dies with its namespaces. It must never remove the caches in $CLUSTER_HOME
# (programs, images, the registry's folder): the next cluster starts from them.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/settings.sh"
"$here/kubernetes-down.sh"
say "the cluster is gone"
