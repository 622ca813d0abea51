# shellcheck shell=bash
# Sourced by the other scripts: where things are, the cluster's addresses, and how progress is told and a template filled in.
# It must never start, build or change anything.

# What outlives a cluster: programs, images, caches.
export CLUSTER_HOME=${CLUSTER_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/pagoda-cluster}
# One cluster's state and logs, gone with it.
export CLUSTER_RUN=${CLUSTER_RUN:-$CLUSTER_HOME/run}

export KUBERNETES_VERSION=v1.37.2

# Networks for documentation (RFC 5737): none of them is a network of the machine. Node I is 192.0.2.I.
export CONTROL_PLANE_IP=192.0.2.1
export POD_CIDR=198.51.100.0/24
export SERVICE_CIDR=203.0.113.0/24 API_SERVICE_IP=203.0.113.1 DNS_SERVICE_IP=203.0.113.10   # coredns.yaml has the last, too
export IMAGE_REGISTRY=192.0.2.1:5000

say() { printf '[%3d s] %s\n' "$SECONDS" "$*" >&2; }

# fill TEMPLATE NAME=VALUE...: prints the template with every ${NAME} replaced. A name without a value is an error.
fill() {
  local text pair
  text=$(<"$1")
  for pair in "${@:2}"; do
    text=${text//"\${${pair%%=*}}"/"${pair#*=}"}
  done
  if [[ $text =~ \$\{[A-Z_]+\} ]]; then
    say "$1: ${BASH_REMATCH[0]} has no value"
    return 1
  fi
  printf '%s\n' "$text"
}
