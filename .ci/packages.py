"""Builds what people install the tool from: `python .ci/packages.py WHEEL OUT`, by `make dist`.

A folder holds the wheel, the pinned packages that it needs (their hashes are checked) and a launcher for the Python
that builds it; it needs that Python on the machine, and nothing else. The folder becomes a .deb, which puts it into
/opt/pagoda, and a tar.gz that a krew manifest names with its checksum. torch is not in it: `pagoda run` needs
`pip install pagoda[server]`.
"""

import gzip
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
PREFIX = "opt/pagoda"
COMMANDS = {
    "pagoda": 'from pagoda_cli.main import app; app(prog_name="pagoda")',
    "kubectl-pagoda": 'from pagoda_cli.main import app; app(prog_name="kubectl pagoda")',
    "kubectl_complete-pagoda": "from pagoda_cli.main import complete_for_kubectl; complete_for_kubectl()",
}
NOT_COMPILED = r"/kubernetes/(aio|client/(models|api))/|/pagoda_server/|/sample_model/"
"""What the tool never loads, and would be half of the package's size."""
COMPRESSION = 6
LAUNCHER = """\
#!/bin/sh
# It may be called by a link, and from wherever the folder was put.
here=$(dirname "$(dirname "$(readlink -f "$0")")")
python=${{PAGODA_PYTHON:-{python}}}
command -v "$python" >/dev/null || {{ echo "pagoda needs {python}: install it, or set PAGODA_PYTHON" >&2; exit 1; }}
PYTHONPATH="$here/lib${{PYTHONPATH:+:$PYTHONPATH}}" exec "$python" -s -c '{code}' "$@"
"""
COMPLETIONS = {
    "bash": "usr/share/bash-completion/completions/pagoda",
    "zsh": "usr/share/zsh/vendor-completions/_pagoda",
    "fish": "usr/share/fish/vendor_completions.d/pagoda.fish",
}


def main(wheel: Path, out: Path) -> int:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    machine = platform.machine()
    if machine not in ARCHITECTURES:
        print(f"no packages are built for {machine}: use one of {', '.join(ARCHITECTURES)}", file=sys.stderr)
        return 1
    architecture, version = ARCHITECTURES[machine], str(project["version"])
    with tempfile.TemporaryDirectory(prefix="pagoda-dist-") as folder:
        root = Path(folder) / "root"
        build_tree(root / PREFIX, wheel)
        archive = out / f"kubectl-pagoda_{version}_linux_{architecture}.tar.gz"
        write_archive(root / PREFIX, archive)
        manifest = build_krew_manifest(project, archive, architecture)
        (out / "pagoda.krew.yaml").write_text(yaml.safe_dump(manifest, sort_keys=False), encoding="utf-8")
        package = build_deb(root, project, architecture, out)
    for path in (archive, package):
        print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB, for {PYTHON} on linux/{architecture}")
    return 0


def build_tree(folder: Path, wheel: Path) -> None:
    """Fills a folder with `lib` and `bin`."""
    lib, binaries = folder / "lib", folder / "bin"
    uv = [str(Path(sys.executable).with_name("uv")), "pip", "install", "--quiet", "--python", sys.executable]
    target = ["--target", str(lib), "--link-mode", "copy"]
    requirements = str(ROOT / "requirements" / "control.txt")
    subprocess.run([*uv, *target, "--require-hashes", "-r", requirements], check=True)
    subprocess.run([*uv, *target, "--no-deps", str(wheel)], check=True)
    shutil.rmtree(lib / "bin", ignore_errors=True)
    # Where it is installed nobody may write into it, so what Python makes of its sources is made here.
    compile_all = ["-m", "compileall", "-q", "-x", NOT_COMPILED, "--invalidation-mode", "unchecked-hash", str(lib)]
    subprocess.run([sys.executable, *compile_all], check=False, stdout=subprocess.DEVNULL)
    binaries.mkdir()
    for name, code in COMMANDS.items():
        (binaries / name).write_text(LAUNCHER.format(python=PYTHON, code=code), encoding="utf-8")
        (binaries / name).chmod(0o755)


def write_archive(folder: Path, path: Path) -> None:
    """Writes a tar.gz that is the same whenever it is made of the same files."""

    def normalise(info: tarfile.TarInfo) -> tarfile.TarInfo:
        info.uid = info.gid = 0
        info.uname = info.gname = ""
        info.mtime = read_epoch()
        return info

    with (
        path.open("wb") as raw,
        gzip.GzipFile("", "wb", COMPRESSION, fileobj=raw, mtime=read_epoch()) as zipped,
        tarfile.open(fileobj=zipped, mode="w") as tar,
    ):
        for found in sorted(folder.rglob("*")):
            tar.add(found, str(found.relative_to(folder)), recursive=False, filter=normalise)


def read_epoch() -> int:
    """Returns the time of what is built: SOURCE_DATE_EPOCH, else that of the last commit."""
    if epoch := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(epoch)
    command = ["git", "-C", str(ROOT), "log", "-1", "--format=%ct"]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def build_krew_manifest(project: dict[str, Any], archive: Path, architecture: str) -> dict[str, Any]:
    """Returns the plugin's manifest, whose address is that of the release's attached file."""
    version, source = project["version"], project["urls"]["Source"]
    platform_entry = {
        "selector": {"matchLabels": {"os": "linux", "arch": architecture}},
        "uri": f"{source}/releases/download/v{version}/{archive.name}",
        "sha256": hashlib.sha256(archive.read_bytes()).hexdigest(),
        "bin": "bin/kubectl-pagoda",
        "files": [{"from": "*", "to": "."}],
    }
    return {
        "apiVersion": "krew.googlecontainertools.github.com/v1alpha2",
        "kind": "Plugin",
        "metadata": {"name": "pagoda"},
        "spec": {
            "version": f"v{version}",
            "homepage": source,
            "shortDescription": "See how LLM deployments are, and why",
            "description": "Shows the models that Pagoda serves, says what is wrong with one and what to do, talks "
            "with it, prints its logs, measures it and gathers a support bundle.",
            "caveats": f"It needs {PYTHON} on this machine.",
            "platforms": [platform_entry],
        },
    }


def build_deb(root: Path, project: dict[str, Any], architecture: str, out: Path) -> Path:
    """Adds to a root with /opt/pagoda what a Debian package has besides, and returns the package."""
    binaries = root / "usr/bin"
    binaries.mkdir(parents=True)
    for name in COMMANDS:
        (binaries / name).symlink_to(f"/{PREFIX}/bin/{name}")
    for shell, place in COMPLETIONS.items():
        script = subprocess.run(
            [str(root / PREFIX / "bin/pagoda"), "completion", shell], capture_output=True, text=True, check=True
        )
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_text(script.stdout, encoding="utf-8")
    licence = root / "usr/share/doc/pagoda/copyright"
    licence.parent.mkdir(parents=True)
    shutil.copy(ROOT / "LICENSE", licence)
    kilobytes = sum(path.lstat().st_size for path in root.rglob("*") if not path.is_dir()) // 1024
    (root / "DEBIAN").mkdir()
    (root / "DEBIAN/control").write_text(build_control(project, architecture, kilobytes), encoding="utf-8")
    package = out / f"pagoda_{project['version']}_{architecture}.deb"
    command = ["dpkg-deb", "--root-owner-group", "-Zgzip", f"-z{COMPRESSION}", "--build", str(root), str(package)]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(read_epoch())}
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    return package


def build_control(project: dict[str, Any], architecture: str, kilobytes: int) -> str:
    return f"""\
Package: pagoda
Version: {project["version"]}
Architecture: {architecture}
Maintainer: The Pagoda authors <{project["urls"]["Issues"]}>
Section: admin
Priority: optional
Depends: {PYTHON}
Installed-Size: {kilobytes}
Homepage: {project["urls"]["Source"]}
Description: LLM serving on Kubernetes, scaled on tokens per second: the tool
 The commands pagoda and kubectl pagoda: how models are, what is wrong with one
 and what to do, chat, logs, benchmarks, support bundles.
"""


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
