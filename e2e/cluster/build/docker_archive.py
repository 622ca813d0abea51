#!/usr/bin/env python3
"""docker_archive.py NAME:TAG ROOTFS OUT.tar [ENTRYPOINT...]: packs a folder as a docker archive of one layer.

The archive is for `ctr images import`. The same folder gives the same bytes.
"""

import hashlib
import io
import json
import sys
import tarfile
from pathlib import Path

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def reproducible(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Returns the entry without times and owners' names; nothing for a device."""
    info.uname = info.gname = ""
    info.mtime = 0
    return None if info.ischr() or info.isblk() else info


def write_layer(rootfs: Path, layer: Path) -> str:
    """Returns the digest of the layer that it writes."""
    with tarfile.open(layer, "w", format=tarfile.PAX_FORMAT) as tar:
        for entry in sorted(rootfs.iterdir()):
            tar.add(entry, entry.name, filter=reproducible)
    with layer.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def build_config(digest: str, entrypoint: tuple[str, ...]) -> bytes:
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": list(entrypoint) or None, "Env": [PATH], "WorkingDir": "/"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        "history": [{"created_by": "docker_archive.py"}],
    }
    return json.dumps(config).encode()


def write_archive(name: str, config: bytes, layer: Path, digest: str, out: Path) -> None:
    config_name, layer_name = f"{hashlib.sha256(config).hexdigest()}.json", f"{digest}/layer.tar"
    manifest = [{"Config": config_name, "RepoTags": [name], "Layers": [layer_name]}]
    with tarfile.open(out, "w") as tar:
        for path, data in ((config_name, config), ("manifest.json", json.dumps(manifest).encode())):
            info = tarfile.TarInfo(path)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        tar.add(layer, layer_name, filter=reproducible)


def main(name: str, rootfs: str, out: str, *entrypoint: str) -> None:
    layer = Path(f"{out}.layer")
    digest = write_layer(Path(rootfs), layer)
    write_archive(name, build_config(digest, entrypoint), layer, digest, Path(out))
    layer.unlink()


if __name__ == "__main__":
    main(*sys.argv[1:])
