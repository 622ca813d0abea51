"""What Flux and Argo CD show (kstatus itself, in Go) is what a person would say of the same cluster."""

import copy
import json
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pagoda_operator.objects.settings import BuildSettings
from pagoda_operator.plan import Refusal, World, plan, world_of

PROGRAM = Path(__file__).parent / "program"
NOW = datetime(2026, 1, 2, tzinfo=UTC)
SETTINGS = BuildSettings("control:1", "server:1")


def resource(**spec: Any) -> dict[str, Any]:
    metadata = {"name": "m", "namespace": "ns", "uid": "u1", "generation": 3}
    spec = {"model": {"uri": "bundled://pagoda-tiny"}, **spec}
    return {"apiVersion": "pagoda.dev/v1alpha1", "kind": "ModelDeployment", "metadata": metadata, "spec": spec}


def pod(name: str, *, ready: bool, **container: Any) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": str(ready)}]
    statuses = [{"name": "server", "ready": ready, **container}]
    spec = {"containers": [{"name": "server"}]}
    status = {"conditions": conditions, "containerStatuses": statuses}
    return {"metadata": {"name": name}, "spec": spec, "status": status}


def seen(raw: dict[str, Any], *pods: dict[str, Any], updated: int, total: int, **spec: Any) -> World:
    children = copy.deepcopy(plan(world_of(raw), NOW, SETTINGS).objects)
    deployment = next(child for child in children if child["kind"] == "Deployment")
    deployment["status"] = {"replicas": total, "updatedReplicas": updated}
    deployment["spec"] |= spec
    return world_of(raw, children=children, pods=pods)


CRASHES = {"restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
REFUSED = (Refusal("Deployment", "m", "422: no"),)
OLD, NEW = pod("old", ready=True), pod("new", ready=False)
CASES: dict[str, tuple[Callable[[], World], str]] = {
    "new": (lambda: world_of(resource()), "InProgress"),
    "starting": (lambda: seen(resource(), NEW, updated=1, total=1), "InProgress"),
    "serving": (lambda: seen(resource(), OLD, updated=1, total=1), "Current"),
    "zero as asked": (lambda: seen(resource(replicas=0), updated=0, total=0), "Current"),
    "zero, pods remain": (lambda: seen(resource(replicas=0), OLD, updated=0, total=1), "InProgress"),
    "rolling out": (lambda: seen(resource(), OLD, NEW, updated=1, total=2), "InProgress"),
    "failing roll-out": (
        lambda: seen(resource(), OLD, pod("new", ready=False, **CRASHES), updated=1, total=2),
        "Failed",
    ),
    "paused roll-out": (lambda: seen(resource(), OLD, updated=0, total=1, paused=True), "Failed"),
    "refused revision": (lambda: world_of(resource(), pods=[OLD], refusals=REFUSED), "Failed"),
    "refused at first": (lambda: world_of(resource(), refusals=REFUSED), "Failed"),
    "not valid": (lambda: world_of(resource(replicas=-1)), "Failed"),
    "name taken": (lambda: world_of(resource(), taken=("Service m",)), "Failed"),
}


@pytest.fixture(scope="module")
def shown() -> dict[str, str]:
    if shutil.which("go") is None:
        pytest.skip("kstatus is a Go library, and there is no go")
    worlds = [make() for make, _ in CASES.values()]
    objects = [{**world.raw, "status": plan(world, NOW, SETTINGS).status} for world in worlds]
    done = subprocess.run(["go", "run", "."], cwd=PROGRAM, input=json.dumps(objects), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return dict(zip(CASES, done.stdout.split(), strict=True))


@pytest.mark.parametrize("case", CASES)
def test_kstatus_says_what_a_person_would(shown: dict[str, str], case: str) -> None:
    assert shown[case] == CASES[case][1]
