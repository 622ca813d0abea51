#!/usr/bin/env bash
# push-images.sh: builds both images from our Dockerfile, pushes them to the cluster's registry and writes their names to images.json.
# push-images.sh TREE NAME: only the control image, of another tree and into the repository NAME; prints the image's name.
# push-images.sh --builder FOLDER: builds nothing; prints what `make images` needs to build the same way, with its files in FOLDER.
# The cluster must be up. Layers are cached: the first build takes about five minutes (torch), later ones seconds. pip's settings and the
# certificates of this machine are mounted while an image is built; they must never end up in it.
set -euo pipefail
shopt -s inherit_errexit
here=$(cd "$(dirname "$0")" && pwd)
. "$here/settings.sh"
root=$(cd "$here/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
flags=()
BUILDAH=(buildah --storage-driver overlay --root "$CLUSTER_HOME/buildah/storage" --runroot "$CLUSTER_HOME/buildah/run")
BASE=localhost/e2e-base:bookworm
MANIFEST="Accept: application/vnd.oci.image.manifest.v1+json"

buildah() { command "${BUILDAH[@]}" "$@"; }

build_base() {
  local rootfs=$work/rootfs log=$work/debootstrap.log
  say "the base image, about a minute"
  debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv bookworm "$rootfs" >"$log" ||
    { tail "$log"; exit 1; }
  rm -rf "$rootfs"/var/cache/apt/archives/*.deb "$rootfs"/var/lib/apt/lists/* "$rootfs"/usr/share/{doc,man,locale}
  tar -C "$rootfs" -cf "$work/base.tar" .
  rm -rf "$rootfs"
  buildah bud --quiet --isolation chroot -t "$BASE" -f "$here/pagoda-images/base.Dockerfile" "$work" >/dev/null
}

write_pip_conf() {
  echo "[global]"
  if [ -e /etc/ssl/certs/ca-certificates.crt ]; then echo "cert = /etc/ssl/certs/ca-certificates.crt"; fi
  if [ -n "${PIP_INDEX_URL:-}" ]; then echo "index-url = $PIP_INDEX_URL"; fi
}

write_uv_toml() {
  local index=${UV_DEFAULT_INDEX:-${PIP_INDEX_URL:-}}
  echo "system-certs = true"
  if [ -n "$index" ]; then echo "index-url = \"$index\""; fi
}

mounts=()
mount_network_settings() {
  local uv_cache
  mkdir -p "$CLUSTER_HOME/uv"
  uv_cache=$(uv cache dir 2>/dev/null || echo "$CLUSTER_HOME/uv")
  write_pip_conf >"$work/pip.conf"
  write_uv_toml >"$work/uv.toml"
  mounts=(
    --volume /etc/ssl/certs:/etc/ssl/certs:ro
    --volume "$work/pip.conf:/etc/pip.conf:ro"
    --volume "$work/uv.toml:/etc/uv/uv.toml:ro"
    --volume "$uv_cache:/root/.cache/uv"
  )
}

set_flags() {
  flags=(--quiet --layers --pull-never --isolation chroot --network host "${mounts[@]}")
  flags+=(--build-arg "BASE=$BASE" --build-arg COMPILER= --ignorefile "$here/pagoda-images/ignore")
}

tell_builder() {
  printf '%s\n' "BUILDER=${BUILDAH[*]}" "BUILD_FLAGS=${flags[*]}" "PUSH_FLAGS=--quiet --tls-verify=false"
}

# build TREE KIND: the image of a tree, as that tree builds it; its id is in $work/id.
build() {
  local own=("${flags[@]}" --iidfile "$work/id")
  if [ -x "$1/server_image/build-images.sh" ]; then
    PUSH='' REGISTRY=localhost/e2e BUILDER="${BUILDAH[*]}" BUILD_FLAGS="${own[*]}" "$1/server_image/build-images.sh" "$2" >/dev/null
    return
  fi
  local file=("$1/server_image/Dockerfile" --target "$2")
  if [ ! -e "${file[0]}" ]; then file=("$1/server_image/Dockerfile.$2"); fi # release 0.1.0 has a file per image
  buildah bud "${own[@]}" -f "${file[@]}" "$1" >/dev/null
}

is_in_registry() {
  "$here/in" curl -fsS --noproxy '*' -o /dev/null -H "$MANIFEST" "http://$IMAGE_REGISTRY/v2/$1/manifests/$2" 2>/dev/null
}

push() {   # from inside the cluster's namespaces, where the registry is
  "$here/in" env TMPDIR="$work" "${BUILDAH[@]}" push --quiet --tls-verify=false "$(cat "$work/id")" "docker://$1" >/dev/null
}

# build_and_push TREE KIND NAME: prints the image's name; its tag is the image's own id, so that no node keeps a stale one.
build_and_push() {
  local tree=$1 kind=$2 name=$3 tag image
  say "$name: building"
  build "$tree" "$kind"
  tag=$(sed 's/^sha256://' "$work/id" | cut -c1-12)
  image=$IMAGE_REGISTRY/$name:$tag
  if is_in_registry "$name" "$tag"; then
    say "$image: in the registry already"
  else
    say "$image: pushing"
    push "$image"
    say "$image: pushed"
  fi
  echo "$image"
}

mkdir -p "$CLUSTER_HOME/buildah"
if ! buildah inspect --type image "$BASE" >/dev/null 2>&1; then build_base; fi
if [ "${1:-}" = --builder ]; then
  rmdir "$work"
  trap - EXIT
  work=$2
  mount_network_settings
  set_flags
  tell_builder
  exit
fi
mount_network_settings
set_flags
if [ $# = 2 ]; then
  build_and_push "$1" control "$2"
  exit
fi
control=$(build_and_push "$root" control pagoda)
server=$(build_and_push "$root" server pagoda-server)
printf '{"control": "%s", "server": "%s"}\n' "$control" "$server" >"$CLUSTER_RUN/images.json"
