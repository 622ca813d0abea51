#!/usr/bin/env bash
# Starts Kubernetes in network, mount and process namespaces of its own: the control plane and NODES nodes (0 to 4; one by default).
# All of it dies with its init process; its state is in $CLUSTER_RUN. It must never change the machine's network or anybody's kubeconfig;
# the sysctls that the kubelet changes for the whole machine are saved, for kubernetes-down.sh. cluster-up.sh adds DNS and all the rest.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/settings.sh"
export NODES=${NODES:-1}
run=$CLUSTER_RUN
KUBELETS_SYSCTLS=(vm.overcommit_memory kernel.panic kernel.panic_on_oops kernel.keys.root_maxkeys kernel.keys.root_maxbytes)

make_run_folder() {
  rm -rf "$run"
  mkdir -p "$run"/{log,etcd,nodes}
  echo "$NODES" >"$run/nodes.wanted"
  sysctl "${KUBELETS_SYSCTLS[@]}" >"$run/sysctl.saved"
}

make_certificates() {
  local number nodes=()
  for number in $(seq "$NODES"); do nodes+=("node$number=192.0.2.$number"); done
  "$here/namespaces/certificates.sh" "$run/pki" "${nodes[@]}"
}

start_namespaces() {
  setsid nohup unshare --net --mount --propagation private --pid --fork --kill-child=KILL --mount-proc \
    bash "$here/namespaces/init.sh" >"$run/log/init" 2>&1 </dev/null &
  unshare_pid=$!
  for _ in $(seq 100); do
    init_pid=$(cat "/proc/$unshare_pid/task/$unshare_pid/children" 2>/dev/null | tr -d ' ' || true)
    [ -n "$init_pid" ] && break
    sleep 0.05
  done
  echo "$init_pid" >"$run/init.pid"
  echo "$unshare_pid" >"$run/unshare.pid"
}

write_enter_command() {
  fill "$here/namespaces/in.template" BIN="$CLUSTER_HOME/bin" RUN="$run" INIT_PID="$init_pid" >"$run/in"
  chmod +x "$run/in"
}

wait_for_api_server() {
  until "$run/in" kubectl get --raw /readyz >/dev/null 2>&1; do
    kill -0 "$unshare_pid" || { cat "$run/log/init"; exit 1; }
    sleep 0.2
  done
  echo "the API server is ready after $SECONDS s"
}

wait_for_node() {
  until "$run/in" kubectl wait --for=condition=Ready "node/$1" --timeout=60s >/dev/null 2>&1; do
    kill -0 "$unshare_pid" || exit 1
    sleep 0.2
  done
  echo "$1 is ready after $SECONDS s"
}

if [ -e "$run/init.pid" ] && kill -0 "$(cat "$run/init.pid")" 2>/dev/null; then
  echo "already up"
  exit 1
fi
make_run_folder
make_certificates
start_namespaces
write_enter_command
wait_for_api_server
for number in $(seq "$NODES"); do wait_for_node "node$number"; done
