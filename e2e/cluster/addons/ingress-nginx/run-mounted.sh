#!/usr/bin/env bash
# run-mounted.sh FOLDER: the controller itself, with FOLDER's parts mounted at the paths that are compiled into it.
# It must never run but by run.sh, which gives it a mount namespace of its own.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../../settings.sh"
folder=$1
mount --bind "$folder/etc" /etc/nginx
mount --bind "$folder/icc" /etc/ingress-controller
mount --bind "$folder/tmp" /tmp/nginx
mount --bind "$folder/log" /var/log/nginx
mount --bind "$folder/var" /var/lib/nginx
cd "$folder"
export POD_NAMESPACE=ingress-nginx POD_NAME=controller-0 NGINX_BINARY=/usr/sbin/nginx
exec "$CLUSTER_HOME/bin/ingress-nginx" --kubeconfig="$CLUSTER_RUN/pki/admin.kubeconfig" \
  --configmap=ingress-nginx/ingress-nginx --controller-class=k8s.io/ingress-nginx --ingress-class=nginx \
  --http-port=8880 --https-port=443 --healthz-port=10254 \
  --disable-leader-election --update-status=false --report-node-internal-ip-address=false
