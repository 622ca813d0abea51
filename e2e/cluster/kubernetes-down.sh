#!/usr/bin/env bash
# Ends what kubernetes-up.sh started in $CLUSTER_RUN, and removes what it leaves: the folder, the kubelet's cgroups, mount points; the
# kubelet's sysctls are set back. It must never kill a process that has been given one of our old pids.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/settings.sh"
run=$CLUSTER_RUN

kill_namespaces() {
  local file pid init_pid
  init_pid=$(cat "$run/init.pid" 2>/dev/null)
  for file in unshare.pid init.pid; do
    pid=$(cat "$run/$file" 2>/dev/null) && grep -qs init.sh "/proc/$pid/cmdline" && kill -KILL "$pid"
  done
  for _ in $(seq 100); do
    { [ -n "$init_pid" ] && [ -e "/proc/$init_pid" ]; } || break
    sleep 0.1
  done
}

remove_cgroups() { # several tries: a cgroup is busy until its last process has been reaped
  local cgroup left
  for _ in $(seq 5); do
    left=
    for cgroup in /sys/fs/cgroup/*/k8s-node*; do
      [ -d "$cgroup" ] || continue
      find "$cgroup" -depth -type d -exec rmdir {} \; 2>/dev/null
      [ -d "$cgroup" ] && left=1
    done
    [ -z "$left" ] && break
    sleep 0.5
  done
}

[ -d "$run" ] || exit 0
kill_namespaces
if [ "$(cat "$run/nodes.wanted" 2>/dev/null || echo 0)" != 0 ]; then   # a control plane alone leaves none of these
  remove_cgroups
  [ -e "$run/sysctl.saved" ] && sysctl -qp "$run/sysctl.saved"
  rmdir /etc/ingress-controller /tmp/nginx 2>/dev/null   # mount points of ingress-nginx
fi
rm -rf "$run"
