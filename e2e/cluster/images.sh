#!/usr/bin/env bash
# images.sh: build the two images from our Dockerfiles and push them to the e2e cluster's registry (the cluster must be up);
# their names are written to run/images.json.
# images.sh TREE NAME: only the control image, of another tree and in the repository NAME; the image's name is printed.
# The dependency layers are built again only when requirements/*.txt or the Dockerfiles change: the first build takes about five minutes (torch).
# The machine's own pip settings and certificates are mounted while building; they do not end up in an image.
set -euo pipefail
shopt -s inherit_errexit
here=$(cd "$(dirname "$0")" && pwd); . "$here/settings.sh"
root=$(cd "$here/../.." && pwd) R=$CLUSTER_RUN
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT
BUILDAH=(buildah --storage-driver overlay --root "$CLUSTER_HOME/buildah/storage" --runroot "$CLUSTER_HOME/buildah/run")
buildah() { command "${BUILDAH[@]}" "$@"; }

build_base() { # stands for python:3.12-slim: Debian's own Python, from Debian's mirror
  say "the base image, about a minute"
  debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv bookworm "$T/rootfs" >"$T/debootstrap.log" || { tail "$T/debootstrap.log"; exit 1; }
  rm -rf "$T"/rootfs/var/cache/apt/archives/*.deb "$T"/rootfs/var/lib/apt/lists/* "$T"/rootfs/usr/share/{doc,man,locale}
  tar -C "$T/rootfs" -cf "$T/base.tar" .; rm -rf "$T/rootfs"
  printf 'FROM scratch\nADD base.tar /\nENV PATH=/usr/local/bin:/usr/bin:/bin\n' > "$T/Base"
  buildah bud --quiet --isolation chroot -t localhost/e2e-base:bookworm -f "$T/Base" "$T" >/dev/null
}

mounts=()
mount_settings() { # network settings of this machine, for the time of the build only
  mounts+=(--volume "/etc/ssl/certs:/etc/ssl/certs:ro")
  { echo "[global]"
    [ -e /etc/ssl/certs/ca-certificates.crt ] && echo "cert = /etc/ssl/certs/ca-certificates.crt"
    [ -n "${PIP_INDEX_URL:-}" ] && echo "index-url = $PIP_INDEX_URL"
    true; } > "$T/pip.conf"
  { echo "system-certs = true"
    [ -n "${UV_DEFAULT_INDEX:-${PIP_INDEX_URL:-}}" ] && echo "index-url = \"${UV_DEFAULT_INDEX:-$PIP_INDEX_URL}\""
    true; } > "$T/uv.toml"
  mkdir -p "$CLUSTER_HOME/uv"
  mounts+=(--volume "$T/pip.conf:/etc/pip.conf:ro" --volume "$T/uv.toml:/etc/uv/uv.toml:ro" --volume "$(uv cache dir 2>/dev/null || echo "$CLUSTER_HOME/uv"):/root/.cache/uv")
}

build_and_push() { # TREE KIND NAME: prints the image; its tag is the image's own id, so that no node keeps a stale one
  local tree=$1 kind=$2 name=$3 image
  say "$name: building"
  buildah bud --quiet --layers --pull-never --isolation chroot --network host "${mounts[@]}" --build-arg BASE=localhost/e2e-base:bookworm --build-arg COMPILER= \
    --ignorefile "$T/ignore" --iidfile "$T/id" -f "$tree/server_image/Dockerfile.$kind" "$tree" >/dev/null
  image=192.0.2.1:5000/$name:$(sed 's/^sha256://' "$T/id" | cut -c1-12)
  if "$here/in" curl -fsS --noproxy '*' -o /dev/null -H 'Accept: application/vnd.oci.image.manifest.v1+json' \
    "http://192.0.2.1:5000/v2/$name/manifests/${image##*:}" 2>/dev/null; then
    say "$image: in the registry already"
  else
    say "$image: pushing"
    # the registry is inside the cluster's namespaces
    "$here/in" env TMPDIR="$T" "${BUILDAH[@]}" push --quiet --tls-verify=false "$(cat "$T/id")" "docker://$image" >/dev/null
    say "$image: pushed"
  fi
  echo "$image"
}

mkdir -p "$CLUSTER_HOME/buildah"
buildah inspect --type image localhost/e2e-base:bookworm >/dev/null 2>&1 || build_base
printf '%s\n' .git .venv '**/__pycache__' '**/*.egg-info' > "$T/ignore"
mount_settings
if [ $# = 2 ]; then build_and_push "$1" control "$2"; exit; fi
control=$(build_and_push "$root" control pagoda)
server=$(build_and_push "$root" server pagoda-server)
printf '{"control": "%s", "server": "%s"}\n' "$control" "$server" > "$R/images.json"
