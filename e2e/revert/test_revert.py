"""A bad image is rolled out and rolled back in mid-roll-out: the old pods serve all along, and never go."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

LOAD = str(Path(__file__).parents[1] / "load.py")
SYSTEM = "pagoda-system"


def uids(namespace: Any, name: str) -> set[str]:
    return {pod["metadata"]["uid"] for pod in namespace.pods(name)}


@pytest.fixture
def bad_image(namespace: Any) -> Iterator[Any]:
    """Calls install a chart whose server image does not exist, and put it back."""
    cluster = namespace.cluster

    def install(image: str) -> None:
        tag = image.rpartition(":")[2]
        cluster.helm(
            "upgrade", "pagoda", "helm/pagoda", "-n", SYSTEM, "--reuse-values", "--set", f"image.server.tag={tag}"
        )
        cluster.kubectl("-n", SYSTEM, "rollout", "status", "deployment/pagoda", "--timeout=90s")

    yield install
    install(cluster.server_image)


def test_a_bad_image_rolled_back_in_mid_roll_out(namespace: Any, wait_for: Any, bad_image: Any) -> None:
    cluster = namespace.cluster
    namespace.apply("steady", rollout={"upgradePolicy": "Immediately"})
    namespace.apply("edited")
    namespace.wait_ready("steady")
    namespace.wait_ready("edited")
    old = uids(namespace, "steady") | uids(namespace, "edited")
    address = json.loads(namespace.kubectl("get", "service", "steady", "-o", "json"))["spec"]["clusterIP"]
    arguments = [f"http://{address}:8000/v1", "--model", "steady", "--streams", "2", "--seconds", "60"]
    load = subprocess.Popen([*cluster.enter, sys.executable, LOAD, *arguments], stdout=subprocess.PIPE, text=True)
    try:
        bad_image("no-such-repository:no-such-tag")
        namespace.apply("edited", engine={"maxNumSeqs": 32})
        for name in ("steady", "edited"):
            message = namespace.wait_reason(name, "ImagePullFailed", type_="PodsReady")
            assert "no-such-tag" in message
            assert namespace.condition(name)["status"] == "True", "the old pods serve, so the model is Ready"
        assert old <= uids(namespace, "steady") | uids(namespace, "edited")
        bad_image(cluster.server_image)
        wait_for(lambda: uids(namespace, "steady") <= old, 60, "the bad pod of steady is gone")
        namespace.wait_ready("edited")
        wait_for(lambda: namespace.condition("edited", "PodsReady")["status"] == "True", 120, "the edit is rolled out")
        out, _ = load.communicate(timeout=120)
    finally:
        load.kill()
    assert uids(namespace, "steady") <= old and uids(namespace, "steady"), "a revert restarts no pod"
    seen = json.loads(out)
    print(seen)
    assert seen["whole"] > 0 and seen["cut"] == seen["failed"] == 0, seen
