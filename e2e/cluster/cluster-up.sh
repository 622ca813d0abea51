#!/usr/bin/env bash
# cluster-up.sh: the e2e cluster: one node, DNS, an image registry at 192.0.2.1:5000, ingress-nginx at 192.0.2.1:8880 (class nginx),
# FAKE_GPUS pretended GPUs (default 4). Running it again repairs what is missing. NODES=1..4.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd); . "$here/settings.sh"
export R=${R:-$CLUSTER_HOME/run}; C=$here/in

alive() { [ -e "$R/init.pid" ] && kill -0 "$(cat "$R/init.pid")" 2>/dev/null; }
answers() { "$C" curl -fsS --noproxy '*' -m 2 -o /dev/null "$1" 2>/dev/null; }
wait_until() { # SECONDS WHAT COMMAND...
  local n=$(($1 * 5)) what=$2; shift 2
  for _ in $(seq "$n"); do "$@" && { say "$what"; return; }; sleep 0.2; done
  say "still not: $what; the logs are in $R/log"; exit 1
}
start() { # NAME COMMAND...: a process of the cluster, unless it runs; it dies with the cluster
  local name=$1; shift
  [ -e "$R/$name.pid" ] && kill -0 "$(cat "$R/$name.pid")" 2>/dev/null && return
  setsid nohup "$C" "$@" >"$R/log/$name" 2>&1 </dev/null &
  echo $! > "$R/$name.pid"
}

if alive; then say "the cluster is up already"; else
  "$here/down.sh"
  say "starting Kubernetes $KUBERNETES_VERSION"
  "$here/up.sh"
fi
cat > "$R/registry.yaml" <<C
{version: 0.1, log: {level: warn}, storage: {filesystem: {rootdirectory: "$CLUSTER_HOME/registry"}, delete: {enabled: true}}, http: {addr: "192.0.2.1:5000"}}
C
start registry registry serve "$R/registry.yaml"
"$C" kubectl apply -f "$here/coredns.yaml" -f "$here/ingress-nginx.yaml" >/dev/null
start ingress-nginx "$here/ingress-nginx.sh" "$R/ingress-nginx" "$R/pki/admin.kubeconfig"
gpus='[{"op":"add","path":"/status/capacity/nvidia.com~1gpu","value":"'${FAKE_GPUS:-4}'"}]'
for node in $("$C" kubectl get nodes -o name); do
  "$C" kubectl patch "$node" --subresource=status --type=json -p "$gpus" >/dev/null
done
wait_until 30 "the registry answers at 192.0.2.1:5000" answers http://192.0.2.1:5000/v2/
"$C" kubectl -n kube-system rollout status deployment/coredns --timeout=90s >/dev/null; say "DNS is ready"
wait_until 60 "ingress-nginx answers at http://192.0.2.1:8880" answers http://192.0.2.1:10254/healthz
say "the cluster is ready: e2e/cluster/in kubectl get nodes"
