#!/usr/bin/env bash
# Packs the images that every node needs (pause, coredns) as docker archives into $CLUSTER_HOME/images; coredns must be built.
# It must never ask a registry for anything.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../settings.sh"
images=$CLUSTER_HOME/images
rootfs=$(mktemp -d)
trap 'rm -rf "$rootfs"' EXIT
mkdir -p "$images" "$rootfs"/{pause,coredns}
(cd "$here/pause" && CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o "$rootfs/pause/pause" .)
cp "$CLUSTER_HOME/bin/coredns" "$rootfs/coredns/coredns"
for image in pause coredns; do   # coredns comes last: build.sh takes its archive as the sign that all are there
  python3 "$here/docker_archive.py" "e2e.local/$image:1" "$rootfs/$image" "$images/$image.tar" "/$image"
done
