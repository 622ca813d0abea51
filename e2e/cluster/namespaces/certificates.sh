#!/usr/bin/env bash
# certificates.sh FOLDER [NODE=IP...]: the cluster's two authorities, its certificates, kubeconfigs and the key of its service accounts.
# Needs openssl 3. It must never be used for a cluster that anybody else can reach: the keys are not protected.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../settings.sh"
folder=$1
nodes=("${@:2}")
mkdir -p "$folder"
cd "$folder"
NEW_KEY=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650)

# authority NAME COMMON_NAME
authority() {
  openssl req -x509 "${NEW_KEY[@]}" -subj "/CN=$2" -addext basicConstraints=critical,CA:TRUE \
    -addext keyUsage=critical,keyCertSign,cRLSign,digitalSignature -keyout "$1.key" -out "$1.crt" 2>/dev/null
}

# certificate NAME AUTHORITY SUBJECT USE [NAMES]: USE is clientAuth or serverAuth.
certificate() {
  openssl req -x509 "${NEW_KEY[@]}" -subj "$3" -CA "$2.crt" -CAkey "$2.key" -addext basicConstraints=critical,CA:FALSE \
    -addext keyUsage=critical,digitalSignature,keyEncipherment -addext extendedKeyUsage="$4" \
    ${5:+-addext subjectAltName="$5"} -keyout "$1.key" -out "$1.crt" 2>/dev/null
}

# client NAME SUBJECT: a client's certificate, and the kubeconfig with it.
client() {
  certificate "$1" ca "$2" clientAuth
  fill "$here/kubeconfig.template" SERVER="https://$CONTROL_PLANE_IP:6443" AUTHORITY="$(base64 -w0 ca.crt)" \
    CERTIFICATE="$(base64 -w0 "$1.crt")" KEY="$(base64 -w0 "$1.key")" >"$1.kubeconfig"
}

control_plane() {
  local service=DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local
  local addresses=DNS:localhost,IP:127.0.0.1,IP:$CONTROL_PLANE_IP,IP:$API_SERVICE_IP component
  certificate apiserver ca /CN=kube-apiserver serverAuth "$service,$addresses"
  certificate apiserver-kubelet-client ca /O=system:masters/CN=kube-apiserver-kubelet-client clientAuth
  certificate front-proxy-client front-proxy-ca /CN=front-proxy-client clientAuth
  client admin /O=system:masters/CN=admin
  for component in kube-controller-manager kube-scheduler kube-proxy; do
    client "$component" "/CN=system:$component"
  done
}

# kubelet NODE IP
kubelet() {
  local subject=/O=system:nodes/CN=system:node:$1
  client "kubelet-$1" "$subject"
  certificate "kubelet-$1-server" ca "$subject" serverAuth "DNS:$1,IP:$2"
}

authority ca kubernetes-ca
authority front-proxy-ca front-proxy-ca
control_plane
for node in "${nodes[@]}"; do kubelet "${node%%=*}" "${node##*=}"; done
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out sa.key 2>/dev/null
openssl pkey -in sa.key -pubout -out sa.pub
