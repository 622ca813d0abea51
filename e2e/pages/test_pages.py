"""A person follows the documentation: every page in a fresh clone, its commands as they stand, in one shell."""

import shlex
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from .page import build_script, read_blocks

pytestmark = pytest.mark.full
ROOT = Path(__file__).parents[2]
PAGES = {
    path.relative_to(ROOT).as_posix(): read_blocks(path.read_text()) for path in sorted((ROOT / "docs").rglob("*.md"))
}
FOLLOWED = [page for page, blocks in PAGES.items() if any(block.is_run for block in blocks)]
FROM_NOTHING = ["docs/install.md", "docs/quickstart.md"]
"""Pages that install Pagoda and end by removing it."""
GIVEN = Path(__file__).parent / "given"
"""What a page takes for granted, as a script named after it, which runs first."""
FIND_OURS = f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH"
"""`pagoda` and Python are those of the tests."""
LIMIT_SECONDS = 1500


@dataclass(frozen=True, slots=True)
class Reader:
    """Somebody with a clone of the repository, a shell, and a kubeconfig with a namespace of their own."""

    cluster: Any
    home: Path
    settings: dict[str, str]

    @property
    def clone(self) -> Path:
        return self.home / "pagoda"

    def enter(self, namespace: str) -> None:
        """Writes the kubeconfig; the namespace is also in NAMESPACE, for the few commands that spell it out."""
        self.settings["NAMESPACE"] = namespace
        (self.home / "kubeconfig").write_text(self.cluster.kubectl("config", "view", "--raw", "--minify", "--flatten"))
        in_ours = ("env", f"KUBECONFIG={self.home}/kubeconfig")
        self.cluster.run(*in_ours, "kubectl", "config", "set-context", "--current", f"--namespace={namespace}")

    def follow(self, page: str) -> None:
        """Runs the page; fails with all that it printed, of which the last block is the one that failed."""
        script, log = self.home / "page.sh", self.home / "page.log"
        exports = [f"export {name}={shlex.quote(value)}" for name, value in self.settings.items()]
        given = GIVEN / f"{Path(page).stem}.sh"
        before = "\n".join([*exports, FIND_OURS, given.read_text() if given.exists() else ""])
        script.write_text(build_script(page, read_blocks((self.clone / page).read_text()), before))
        command = [*self.cluster.enter, "timeout", "-k", "10", str(LIMIT_SECONDS), "bash", str(script)]
        with log.open("wb") as out:
            done = subprocess.run(command, cwd=self.clone, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        said = log.read_text(errors="replace")
        print(said)
        if done.returncode:
            pytest.fail(f"{page}: exit {done.returncode}, by the last of these blocks:\n{said[-8000:]}")


def _list_settings(cluster: Any, home: Path) -> dict[str, str]:
    """Returns what a reader's shell has: how to build images, where to push them, where nginx is."""
    (home / "builder").mkdir()
    told = cluster.run(str(ROOT / "e2e/cluster/push-images.sh"), "--builder", str(home / "builder"))
    return dict(line.split("=", 1) for line in told.splitlines()) | {
        "HOME": str(home),
        "TMPDIR": str(home),
        "KUBECONFIG": f"{home}/kubeconfig",
        "PYTHONPATH": f"{home}/pagoda/operator:{home}/pagoda/server_image",
        "REGISTRY": f"{cluster.control_image.partition('/')[0]}/{uuid.uuid4().hex[:8]}",  # no node has its images yet
        "HELM_FLAGS": "--plain-http",
        "INGRESS": cluster.ingress_url,
        "NO_PROXY": "*",
    }


@pytest.fixture(scope="module")
def reader(cluster: Any) -> Iterator[Reader]:
    if not cluster.enter:
        pytest.skip("the pages drain a node and remove Pagoda: they are followed on the rig only")
    blocks = [(page, block) for page, blocks in PAGES.items() for block in blocks]
    print(*(f"not run: {page}:{block.line}: {block.reason}" for page, block in blocks if block.reason), sep="\n")
    with tempfile.TemporaryDirectory(prefix="pages-", ignore_cleanup_errors=True) as folder:  # short: sockets are in it
        home = Path(folder)
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(home / "pagoda")], check=True)
        settings = _list_settings(cluster, home)
        yield Reader(cluster, home, settings)
        _forget_images(settings["BUILDER"].split(), settings["REGISTRY"])


def _forget_images(builder: list[str], registry: str) -> None:
    listed = [*builder, "images", "--format", "{{.Name}}:{{.Tag}}"]
    names = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split()
    ours = [name for name in names if name.startswith(f"{registry}/")]
    if ours:
        subprocess.run([*builder, "rmi", *ours], stdout=subprocess.DEVNULL, check=True)


@pytest.fixture
def restored(pagoda: Any) -> Iterator[None]:
    """Afterwards the chart has the values of the other stories again, and the nodes take pods."""
    yield
    pagoda.kubectl("uncordon", "--selector=kubernetes.io/os=linux")
    pagoda.install_this()


@pytest.fixture
def nothing_installed(pagoda: Any) -> Iterator[None]:
    """The cluster without Pagoda; afterwards it is installed again."""
    _remove(pagoda)
    yield
    pagoda.kubectl("-n", "default", "delete", "pod,secret,pvc,pv", "--all", "--wait=false", check=False)
    _remove(pagoda)
    pagoda.install_this()


def _remove(cluster: Any) -> None:
    cluster.kubectl("delete", "modeldeployments", "--all", "--all-namespaces", "--timeout=60s", check=False)
    cluster.helm("uninstall", "pagoda", "--namespace", "pagoda-system", "--ignore-not-found", "--wait")
    cluster.kubectl("delete", "crd", "modeldeployments.pagoda.dev", "--ignore-not-found", "--timeout=60s")
    cluster.kubectl("delete", "namespace", "pagoda-system", "--ignore-not-found", "--timeout=120s")


@pytest.mark.parametrize("page", [page for page in FOLLOWED if page not in FROM_NOTHING])
def test_a_page_does_what_it_says(page: str, reader: Reader, namespace: Any, restored: None) -> None:
    reader.enter(namespace.name)
    reader.follow(page)


@pytest.mark.parametrize("page", FROM_NOTHING)
def test_a_page_installs_pagoda_and_removes_it(page: str, reader: Reader, nothing_installed: None) -> None:
    reader.enter("default")
    reader.follow(page)
