#!/usr/bin/env bash
# Runs the ingress-nginx controller inside the cluster's namespaces as a plain process, with Debian's nginx 1.22 and Lua modules; the
# objects of ingress-nginx.yaml must be there. It must never mount over a folder in any mount namespace but one of its own.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../../settings.sh"
folder=$CLUSTER_RUN/ingress-nginx

# The controller's configuration, changed where Debian's nginx lacks something; lua/ has stand-ins for the modules that it lacks.
prepare_folder() {
  rm -rf "$folder"
  mkdir -p "$folder"/{icc/telemetry,etc/lua/resty,tmp,log,var}
  chmod 777 "$folder/tmp"
  cp -r "$CLUSTER_HOME"/ingress-nginx/* "$folder/etc/"
  cp -r "$here"/lua/* "$folder/etc/lua/resty/"
  cp /etc/nginx/mime.types "$folder/etc/"
  ln -s /usr/lib/nginx/modules "$folder/etc/modules"
  python3 "$here/fit_template.py" "$folder/etc/template/nginx.tmpl"
}

prepare_folder
mkdir -p /tmp/nginx /etc/ingress-controller /var/lib/nginx /var/log/nginx
exec unshare --mount --propagation private bash "$here/run-mounted.sh" "$folder"
