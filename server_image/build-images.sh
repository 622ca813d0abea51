#!/usr/bin/env bash
# build-images.sh [control | server]: builds an image of this tree, or both, and with PUSH=1 pushes; prints names and sizes.
# `make images` calls it, with
#   REGISTRY=registry.example.com/team  what the names begin with; by default the chart's, ghcr.io/pagoda-dev
#   TAG=0.1.0                           by default the version in pyproject.toml, which is the chart's default too
#   PUSH=1                              needs REGISTRY; log in first with the builder's own `login`
#   PLATFORM=linux/amd64                by default this machine's
#   BUILDER=docker                      docker, podman or buildah, with flags of its own where it needs some; by default the first found
#   BUILD_FLAGS, PUSH_FLAGS             further flags of `build` and `push`, as --build-arg "BASE=..." or --tls-verify=false
# It must never push what it was not told to.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)

fail() {
  echo "$1" >&2
  exit 1
}

find_builder() {
  local name
  for name in docker podman buildah; do
    if command -v "$name" >/dev/null && "$name" info >/dev/null 2>&1; then
      echo "$name"
      return
    fi
  done
  fail "no builder: none of docker, podman, buildah is installed and answers \`info\`: install one (apt-get install podman), or name it: BUILDER=..."
}

# split_words TEXT: its words, a line each; what stands in quotes is one
split_words() { xargs -r -n 1 printf '%s\n' <<<"$1"; }

read_version() { sed -n 's/^version = "\(.*\)"$/\1/p' "$root/pyproject.toml"; }

read_revision() { git -C "$root" describe --always --abbrev=40 --exclude='*' --dirty 2>/dev/null || echo unknown; }

# build TARGET IMAGE
build() {
  local flags=(--target "$1" --tag "$2" --file "$root/server_image/Dockerfile")
  flags+=(--build-arg "VERSION=$version" --build-arg "REVISION=$(read_revision)")
  if [ -n "${PLATFORM:-}" ]; then flags+=(--platform "$PLATFORM"); fi
  echo "== building $2" >&2
  "${builder[@]}" build "${flags[@]}" "${build_flags[@]}" "$root"
}

# tell IMAGE: its name and its size, unpacked
tell() {
  local format='{{.Size}}' bytes
  if [[ "${builder[0]}" == *buildah ]]; then
    "${builder[@]}" images --format '{{.Name}}:{{.Tag}}  {{.Size}}' "$1"
    return
  fi
  bytes=$("${builder[@]}" image inspect --format "$format" "$1")
  echo "$1  $((bytes / 1000000)) MB"
}

version=$(read_version)
tag=${TAG:-$version}
if [ -n "${PUSH:-}" ] && [ -z "${REGISTRY:-}" ]; then fail "PUSH is set and REGISTRY is not: say where to, as REGISTRY=registry.example.com/team"; fi
registry=${REGISTRY:-ghcr.io/pagoda-dev}
named=${BUILDER:-$(find_builder)}
mapfile -t builder < <(split_words "$named")
mapfile -t build_flags < <(split_words "${BUILD_FLAGS:-}")
mapfile -t push_flags < <(split_words "${PUSH_FLAGS:-}")
command -v "${builder[0]}" >/dev/null || fail "BUILDER is ${builder[0]}, which is not installed: use docker, podman or buildah"

declare -A names=([control]=$registry/pagoda:$tag [server]=$registry/pagoda-server:$tag)
images=()
[ $# != 0 ] || set -- control server
for target in "$@"; do
  [ -n "${names[$target]:-}" ] || fail "there is no image $target: say control or server"
  build "$target" "${names[$target]}"
  images+=("${names[$target]}")
done
if [ -n "${PUSH:-}" ]; then
  for image in "${images[@]}"; do
    echo "== pushing $image" >&2
    "${builder[@]}" push "${push_flags[@]}" "$image"
  done
fi
for image in "${images[@]}"; do tell "$image"; done
if [ -z "${PUSH:-}" ]; then echo "not pushed. Into a kind cluster: kind load docker-image ${images[*]}"; fi
if [ "$registry" != ghcr.io/pagoda-dev ] || [ "$tag" != "$version" ]; then
  echo "install with: --set image.control.repository=$registry/pagoda --set image.server.repository=$registry/pagoda-server"
fi
if [ "$tag" != "$version" ]; then echo "              --set image.control.tag=$tag --set image.server.tag=$tag"; fi
