#!/usr/bin/env bash
# Starts the cluster of the stories: Kubernetes, DNS, an image registry at 192.0.2.1:5000, ingress-nginx at 192.0.2.1:8880 (class nginx)
# and FAKE_GPUS fake GPUs per node (default 4), on NODES nodes (1 to 4, default 1). Running it again repairs what is missing.
# build.sh must have run. It must never leave a process outside the cluster's namespaces: cluster-down.sh would not find it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/settings.sh"
run=$CLUSTER_RUN

is_up() { [ -e "$run/init.pid" ] && kill -0 "$(cat "$run/init.pid")" 2>/dev/null; }

answers() { "$here/in" curl -fsS --noproxy '*' -m 2 -o /dev/null "$1" 2>/dev/null; }

# wait_until SECONDS WHAT COMMAND...: tries the command until it succeeds, then says WHAT.
wait_until() {
  local tries=$(($1 * 5)) what=$2
  shift 2
  for _ in $(seq "$tries"); do
    if "$@"; then
      say "$what"
      return
    fi
    sleep 0.2
  done
  say "still not: $what; the logs are in $run/log"
  exit 1
}

# start NAME COMMAND...: a process inside the cluster, unless it runs already; it dies with the cluster.
start() {
  local name=$1
  shift
  [ -e "$run/$name.pid" ] && kill -0 "$(cat "$run/$name.pid")" 2>/dev/null && return
  setsid nohup "$here/in" "$@" >"$run/log/$name" 2>&1 </dev/null &
  echo $! >"$run/$name.pid"
}

start_registry() {
  fill "$here/addons/registry.yaml.template" FOLDER="$CLUSTER_HOME/registry" ADDRESS="$IMAGE_REGISTRY" >"$run/registry.yaml"
  start registry registry serve "$run/registry.yaml"
}

add_fake_gpus() {
  local node patch
  patch=$(printf '[{"op": "add", "path": "/status/capacity/nvidia.com~1gpu", "value": "%s"}]' "${FAKE_GPUS:-4}")
  for node in $("$here/in" kubectl get nodes -o name); do
    "$here/in" kubectl patch "$node" --subresource=status --type=json -p "$patch" >/dev/null
  done
}

tell_what_next() {
  cat >&2 <<NEXT

look into it:     e2e/cluster/in kubectl get pods -A    (helm and curl too, or a shell: e2e/cluster/in bash)
Pagoda on it:     make e2e STORIES=e2e/quickstart       (builds the images, installs the chart, runs a story)
then your model:  e2e/cluster/in kubectl apply -f examples/quickstart.yaml
                  e2e/cluster/in kubectl wait --for=condition=Ready modeldeployment/quickstart --timeout=5m
end it:           make cluster-down
NEXT
}

is_new=
if is_up; then
  say "the cluster is up already"
else
  "$here/kubernetes-down.sh"
  say "starting Kubernetes $KUBERNETES_VERSION"
  "$here/kubernetes-up.sh"
  is_new=1
fi
start_registry
"$here/in" kubectl apply -f "$here/addons/coredns.yaml" -f "$here/addons/ingress-nginx.yaml" >/dev/null
start ingress-nginx "$here/addons/ingress-nginx/run.sh"
add_fake_gpus
wait_until 30 "the registry answers at $IMAGE_REGISTRY" answers "http://$IMAGE_REGISTRY/v2/"
"$here/in" kubectl -n kube-system rollout status deployment/coredns --timeout=90s >/dev/null
say "DNS is ready"
wait_until 60 "ingress-nginx answers at http://192.0.2.1:8880" answers http://192.0.2.1:10254/healthz
say "the cluster is ready"
if [ -n "$is_new" ]; then tell_what_next; fi
