#!/usr/bin/env bash
# node.sh NUMBER: one node: containerd, kubelet, kube-proxy. Started by init.sh; node 1 in its namespaces, the others in a network and
# mounts of their own. It must never run in the machine's own namespaces: it mounts over /run, /var/log and the kubelet's folders.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../settings.sh"
number=$1 node=node$1 ip=192.0.2.$1
node_pod_cidr=198.51.100.$((($1 - 1) * 64))/26   # a quarter of POD_CIDR
folder=$CLUSTER_RUN/nodes/$node
containerd_root=$CLUSTER_HOME/containerd/$node   # on disk and kept: the next cluster need not pull the images again

# start NAME COMMAND...: in the background, with its output in the log NAME-NODE.
start() {
  local name=$1
  shift
  "$@" >"$CLUSTER_RUN/log/$name-$node" 2>&1 &
}

ctr_here() { ctr -a "$folder/containerd.sock" -n k8s.io "$@"; }

wait_for_containerd() {
  for _ in $(seq 100); do
    ctr_here version >/dev/null 2>&1 && return
    sleep 0.1
  done
}

in_network_of_node_1() { nsenter -t 1 --net -- "$@"; }

join_network() {
  ip link set lo up
  in_network_of_node_1 ip link add "veth-n$number" type veth peer name eth0 netns $$
  in_network_of_node_1 ip link set "veth-n$number" master br0 up
  in_network_of_node_1 ip route add "$node_pod_cidr" via "$ip"
  ip link set eth0 up
  ip addr add "$ip/24" dev eth0
  ip route add default via "$CONTROL_PLANE_IP"
  sysctl -qw net.ipv4.ip_forward=1 net.bridge.bridge-nf-call-iptables=1
}

# So that fixed paths stay inside: shim sockets and network namespaces in /run, the device plugins' socket, CNI's state, pods' logs.
make_private_mounts() {
  mkdir -p /var/lib/kubelet /var/lib/cni
  mount -t tmpfs tmpfs /run
  mount --bind "$folder/kubelet" /var/lib/kubelet
  mount --bind "$folder/cnicache" /var/lib/cni
  mount --bind "$folder/varlog" /var/log
}

make_cgroups() {   # cgroup v1: the kubelet wants its cgroupRoot to exist in every hierarchy
  local hierarchy file
  for hierarchy in cpu cpuacct cpuset memory devices freezer blkio pids systemd unified; do
    mkdir -p "/sys/fs/cgroup/$hierarchy/k8s-$node"
  done
  for file in cpus mems; do
    cat "/sys/fs/cgroup/cpuset/cpuset.$file" >"/sys/fs/cgroup/cpuset/k8s-$node/cpuset.$file"
  done
}

write_settings() {
  local variables=(NODE="$node" NODE_IP="$ip" NODE_POD_CIDR="$node_pod_cidr" POD_CIDR="$POD_CIDR" DNS="$DNS_SERVICE_IP"
    FOLDER="$folder" PKI="$CLUSTER_RUN/pki" CONTAINERD_ROOT="$containerd_root" REGISTRY="$IMAGE_REGISTRY")
  mkdir -p "$folder/certs.d/$IMAGE_REGISTRY"
  fill "$here/node/registry-hosts.toml.template" "${variables[@]}" >"$folder/certs.d/$IMAGE_REGISTRY/hosts.toml"
  fill "$here/node/bridge.conflist.template" "${variables[@]}" >"$folder/cni/10-bridge.conflist"
  fill "$here/node/containerd.toml.template" "${variables[@]}" >"$folder/containerd.toml"
  fill "$here/node/kubelet.yaml.template" "${variables[@]}" >"$folder/kubelet.yaml"
  fill "$here/node/kube-proxy.yaml.template" "${variables[@]}" >"$folder/kube-proxy.yaml"
  : >"$folder/resolv.conf"
}

# The images that were kept come with an earlier cluster's containers, which must be gone when the CRI plugin looks.
forget_earlier_containers() {
  local containerd_pid
  sed 's/^disabled_plugins = \[/&"io.containerd.grpc.v1.cri",/' "$folder/containerd.toml" >"$folder/clean.toml"
  start containerd-clean containerd --config "$folder/clean.toml"
  containerd_pid=$!
  wait_for_containerd
  ctr_here containers ls -q | xargs -r ctr -a "$folder/containerd.sock" -n k8s.io containers rm >/dev/null
  kill "$containerd_pid"
  wait "$containerd_pid"
  rm -rf "$containerd_root/io.containerd.grpc.v1.cri"
}

wait_for_api_server() {
  for _ in $(seq 600); do
    [ -e "$CLUSTER_RUN/apiserver.ready" ] && break
    sleep 0.1
  done
}

mkdir -p "$folder"/{kubelet,containerd,cni,cnicache,varlog} "$containerd_root"
[ "$number" = 1 ] || join_network
make_private_mounts
make_cgroups
write_settings
[ -d "$containerd_root/io.containerd.metadata.v1.bolt" ] && forget_earlier_containers
start containerd containerd --config "$folder/containerd.toml"
wait_for_containerd
for image in pause coredns; do ctr_here images import "$CLUSTER_HOME/images/$image.tar"; done
wait_for_api_server
start kubelet kubelet --config="$folder/kubelet.yaml" --kubeconfig="$CLUSTER_RUN/pki/kubelet-$node.kubeconfig" \
  --hostname-override="$node" --node-ip="$ip"
start kube-proxy kube-proxy --config="$folder/kube-proxy.yaml"
wait
