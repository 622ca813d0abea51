"""From the last release to this tree, back and forward again: no pod goes until the user edits its model.

The last release is the newest tag v*, or the commit that LAST_RELEASE names. Its control image is built beside ours
(CLUSTER=current: LAST_CONTROL_IMAGE is that image); the server image is ours throughout.
"""

import json
import os
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SYSTEM = "pagoda-system"
MODELS: dict[str, dict[str, Any]] = {
    "plain": {},
    "scaled": {
        "resources": {"cpu": "100m", "memory": "2Gi"},
        "autoscaling": {"minReplicas": 1, "maxReplicas": 2, "targetUtilization": 0.5, "backlogDrainSeconds": 20},
        "queue": {"maxQueued": 64, "maxWaitSeconds": 30},
    },
}


def git(*args: str) -> str:
    """What git prints; nothing where it fails, as in a tree without history."""
    done = subprocess.run(["git", "-C", str(ROOT), *args], capture_output=True, text=True, check=False)
    return "" if done.returncode else done.stdout.strip()


def find_last_release() -> str:
    """Its commit; nothing where none is known, or where a shallow checkout lacks it."""
    newest = ("-c", "versionsort.suffix=-", "tag", "--list", "v*", "--no-contains", "HEAD", "--sort=-v:refname")
    name = os.environ.get("LAST_RELEASE") or git(*newest).partition("\n")[0]
    return git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}") if name else ""


COMMIT = find_last_release()
pytestmark = pytest.mark.skipif(
    not COMMIT,
    reason="the last release is not in this checkout: fetch its tag v* (git fetch --tags --unshallow), or set "
    "LAST_RELEASE to its commit",
)


@dataclass(frozen=True, slots=True)
class Seen:
    """What an upgrade must leave as it is."""

    restarts: dict[str, int]
    ready_since: str
    hpas: list[str]


@dataclass(frozen=True, slots=True)
class Releases:
    """The chart and the operator in the cluster, one release or the other."""

    cluster: Any
    log: Any
    last_chart: str
    last_image: str

    def install_last(self) -> None:
        self.cluster.helm("uninstall", "pagoda", "-n", SYSTEM, "--wait")
        assert_runs(self.cluster.install(self.last_chart, self.last_image))

    def upgrade(self) -> None:
        with read_to_the_end(self.log):
            assert_runs(self.cluster.install_this())

    def roll_back(self) -> None:
        with read_to_the_end(self.log):
            self.cluster.helm("rollback", "pagoda", "-n", SYSTEM)
            assert_runs(self.cluster.wait_operator())


@contextmanager
def read_to_the_end(log: Any) -> Iterator[None]:
    """The operator's pod is replaced meanwhile, and its log goes with it."""
    command = [*log.cluster.enter, "kubectl", *log.command, "--follow"]
    with tempfile.TemporaryFile("w+") as out, subprocess.Popen(command, stdout=out, cwd=ROOT) as process:
        try:
            yield
            process.wait(timeout=90)
        finally:
            process.kill()
        out.seek(0)
        log.note(out.read())


def assert_runs(said: str) -> None:
    assert "successfully rolled out" in said, said


@pytest.fixture
def last_chart(tmp_path: Path) -> str:
    """The folder of the last release's chart, in its whole tree."""
    archive, tree = tmp_path / "tree.tar", tmp_path / "tree"
    subprocess.run(["git", "-C", str(ROOT), "archive", "-o", str(archive), COMMIT], check=True)
    with tarfile.open(archive) as tar:
        tar.extractall(tree, filter="data")
    return str(tree / "helm/pagoda")


@pytest.fixture
def last_image(cluster: Any, last_chart: str) -> str:
    if image := os.environ.get("LAST_CONTROL_IMAGE"):
        return image
    if not cluster.state:
        pytest.skip("set LAST_CONTROL_IMAGE to the last release's control image, repository:tag")
    build = [str(ROOT / "e2e/cluster/push-images.sh"), str(Path(last_chart).parents[1]), "pagoda-last-release"]
    return subprocess.run(build, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


@pytest.fixture
def releases(namespace: Any, operator_log: Any, last_chart: str, last_image: str) -> Iterator[Releases]:
    yield Releases(namespace.cluster, operator_log, last_chart, last_image)
    namespace.cluster.install_this()


def look(namespace: Any, name: str) -> Seen:
    """A model as it is at this moment. It must be Ready, and its spec valid."""
    conditions = namespace.model(name)["status"]["conditions"]
    (ready,) = (c for c in conditions if c["type"] == "Ready")
    assert ready["status"] == "True" and "InvalidSpec" not in {c["reason"] for c in conditions}, conditions
    restarts = {
        pod["metadata"]["uid"]: sum(
            status["restartCount"]
            for kind in ("containerStatuses", "initContainerStatuses")
            for status in pod["status"].get(kind, [])
        )
        for pod in namespace.pods(name)
    }
    hpas = namespace.cluster.items("hpa", namespace.name, "-l", namespace.selector(name))
    return Seen(restarts, ready["lastTransitionTime"], [hpa["metadata"]["uid"] for hpa in hpas])


def networkpolicy(namespace: Any, name: str) -> str:
    """Its uid; nothing where there is none."""
    found = namespace.cluster.items("networkpolicies", namespace.name, "-l", namespace.selector(name))
    return "".join(policy["metadata"]["uid"] for policy in found)


def assert_stays(namespace: Any, wait_for: Any, before: dict[str, Seen]) -> None:
    """The operator that is there now has reconciled every model, which it shows by making a lost child again, and
    nothing happened to any of them meanwhile."""
    wait_for(lambda: len(namespace.cluster.items("pods", SYSTEM)) == 1, 60, "the other operator is gone")
    lost = {name: networkpolicy(namespace, name) for name in before}
    namespace.kubectl("delete", "networkpolicies", "--all")

    def is_reconciled(name: str) -> bool:
        assert look(namespace, name) == before[name]
        return networkpolicy(namespace, name) not in ("", lost[name])

    for name in before:
        wait_for(lambda name=name: is_reconciled(name), 90, f"the operator makes the NetworkPolicy of {name} again")
        assert answers(namespace, name)
    wait_scaling(namespace, wait_for)
    assert {name: look(namespace, name) for name in before} == before


def answers(namespace: Any, name: str) -> bool:
    service = json.loads(namespace.kubectl("get", "service", name, "-o", "json"))["spec"]
    url = f"http://{service['clusterIP']}:{service['ports'][0]['port']}"
    return bool(namespace.cluster.stream(url, name, "--max-tokens", "8"))


def wait_scaling(namespace: Any, wait_for: Any) -> None:
    def scales() -> bool:
        return bool(namespace.condition("scaled", "Scaling")["status"] == "True")

    wait_for(scales, 90, lambda: namespace.kubectl("describe", "hpa") + json.dumps(namespace.model("scaled")["status"]))


def is_rolled_out(namespace: Any, name: str, before: Seen) -> bool:
    """The pods are other ones, and the roll-out is complete."""
    replaced = before.restarts.keys().isdisjoint(pod["metadata"]["uid"] for pod in namespace.pods(name))
    return replaced and namespace.condition(name, "Progressing")["reason"] == "Complete"


def images(namespace: Any, name: str) -> set[str]:
    """NB: the gateway is an init container that stays."""
    kinds = ("initContainers", "containers")
    return {c["image"] for pod in namespace.pods(name) for kind in kinds for c in pod["spec"][kind]}


@pytest.mark.expects_errors(r"Request attempt .* will retry: .*storage is \(re\)initializing")  # as 0.1.0 logs it
def test_an_upgrade_and_the_way_back_replace_no_pod(namespace: Any, releases: Releases, wait_for: Any) -> None:
    releases.install_last()
    for name, spec in MODELS.items():
        namespace.apply(name, **spec)
    for name in MODELS:
        namespace.wait_ready(name)
    wait_scaling(namespace, wait_for)
    before = {name: look(namespace, name) for name in MODELS}
    assert all(releases.last_image in images(namespace, name) for name in MODELS)

    releases.upgrade()
    assert_stays(namespace, wait_for, before)

    namespace.apply("plain", queue={"maxQueued": 32})
    wait_for(lambda: is_rolled_out(namespace, "plain", before["plain"]), 180, lambda: namespace.model("plain"))
    namespace.wait_ready("plain")
    assert releases.cluster.control_image in images(namespace, "plain"), "an edited model has the new template"
    before["plain"] = look(namespace, "plain")
    assert_stays(namespace, wait_for, before)

    releases.roll_back()
    assert_stays(namespace, wait_for, before)

    releases.upgrade()
    assert_stays(namespace, wait_for, before)
