#!/usr/bin/env bash
# Process 1 of the cluster's namespaces, started by kubernetes-up.sh: makes the network, then starts the nodes, etcd and the control plane.
# It must never end by itself, since all of the cluster ends with it, and never connect its network to the machine's.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../settings.sh"
cd "$CLUSTER_RUN" || exit 1
export PATH=$CLUSTER_HOME/bin:/usr/sbin:/usr/bin:/sbin:/bin
pki=$CLUSTER_RUN/pki
etcd=http://127.0.0.1:2379

# start NAME COMMAND...: in the background, with its output in the log NAME.
start() {
  local name=$1
  shift
  "$@" >"$CLUSTER_RUN/log/$name" 2>&1 &
}

make_network() {   # br0 is the nodes' network; the veth pair only gives it a carrier, where the kernel has no dummy device
  local link
  ip link set lo up
  ip link add br0 type bridge
  ip link add node0 type veth peer name node0p
  ip link set node0 master br0
  for link in br0 node0 node0p; do ip link set "$link" up; done
  ip addr add "$CONTROL_PLANE_IP/24" dev br0
  ip route add default dev br0   # so that a Service's address has a route before NAT rewrites it
  sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.send_redirects=0 net.bridge.bridge-nf-call-iptables=1
}

keep_state_in_memory() {
  local folder
  for folder in etcd nodes; do mount -t tmpfs tmpfs "$CLUSTER_RUN/$folder"; done
}

start_nodes() {   # node 1 runs in these namespaces, the others have a network and mounts of their own
  local number
  for number in $(seq "$NODES"); do
    if [ "$number" = 1 ]; then
      start node1 bash "$here/node.sh" 1
    else
      start "node$number" unshare --net --mount --propagation private bash "$here/node.sh" "$number"
    fi
  done
}

start_etcd() {
  start etcd etcd --data-dir "$CLUSTER_RUN/etcd" --unsafe-no-fsync --listen-client-urls "$etcd" --advertise-client-urls "$etcd" \
    --listen-peer-urls http://127.0.0.1:2380 --log-level warn
}

start_api_server() {
  local options=(
    --etcd-servers="$etcd"
    --advertise-address="$CONTROL_PLANE_IP" --bind-address=0.0.0.0 --secure-port=6443
    --client-ca-file="$pki/ca.crt"
    --tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key"
    --kubelet-client-certificate="$pki/apiserver-kubelet-client.crt"
    --kubelet-client-key="$pki/apiserver-kubelet-client.key"
    --kubelet-certificate-authority="$pki/ca.crt"
    --kubelet-preferred-address-types=InternalIP
    --service-account-issuer=https://kubernetes.default.svc.cluster.local
    --service-account-key-file="$pki/sa.pub" --service-account-signing-key-file="$pki/sa.key"
    --service-cluster-ip-range="$SERVICE_CIDR"
    "--authorization-mode=Node,RBAC" --enable-admission-plugins=NodeRestriction --allow-privileged=true
    --requestheader-client-ca-file="$pki/front-proxy-ca.crt"
    --requestheader-allowed-names=front-proxy-client
    --requestheader-extra-headers-prefix=X-Remote-Extra-
    --requestheader-group-headers=X-Remote-Group
    --requestheader-username-headers=X-Remote-User
    --proxy-client-cert-file="$pki/front-proxy-client.crt" --proxy-client-key-file="$pki/front-proxy-client.key"
    --enable-aggregator-routing=true
    --audit-policy-file="$here/audit-policy.yaml" --audit-log-path="$CLUSTER_RUN/log/audit"
  )
  start kube-apiserver kube-apiserver "${options[@]}"
}

wait_for_api_server() {
  for _ in $(seq 600); do
    kubectl --kubeconfig "$pki/admin.kubeconfig" get --raw /readyz >/dev/null 2>&1 && break
    sleep 0.1
  done
}

start_controller_manager() {
  local kubeconfig=$pki/kube-controller-manager.kubeconfig
  local options=(
    --kubeconfig="$kubeconfig" --authentication-kubeconfig="$kubeconfig" --authorization-kubeconfig="$kubeconfig"
    --client-ca-file="$pki/ca.crt"
    --requestheader-client-ca-file="$pki/front-proxy-ca.crt"
    --root-ca-file="$pki/ca.crt"
    --service-account-private-key-file="$pki/sa.key"
    --cluster-signing-cert-file="$pki/ca.crt" --cluster-signing-key-file="$pki/ca.key"
    --use-service-account-credentials=true
    --leader-elect=false
    --kube-api-qps=500 --kube-api-burst=1000
    --horizontal-pod-autoscaler-sync-period=5s
  )
  start kube-controller-manager kube-controller-manager "${options[@]}"
}

start_scheduler() {
  local kubeconfig=$pki/kube-scheduler.kubeconfig
  start kube-scheduler kube-scheduler --kubeconfig="$kubeconfig" --authentication-kubeconfig="$kubeconfig" \
    --authorization-kubeconfig="$kubeconfig" --leader-elect=false
}

make_network
keep_state_in_memory
start_nodes   # containerd and the images come up while the API server starts
start_etcd
start_api_server
wait_for_api_server
start_controller_manager
start_scheduler
touch "$CLUSTER_RUN/apiserver.ready"
while :; do   # as process 1 it inherits every orphan, and reaps it
  wait -n
  sleep 1
done
