"""Snapshots of a cluster for plans: a ModelDeployment, its children as they were planned, and pods in some state."""

import copy
from datetime import UTC, datetime
from typing import Any

from pagoda_operator.objects.settings import BuildSettings
from pagoda_operator.plan import ReconcilePlan, World, plan, world_of

Object = dict[str, Any]
NOW = datetime(2026, 1, 2, tzinfo=UTC)
SETTINGS = BuildSettings("control:1", "server:1")
NO_GPU = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
CRASHED: Object = {"terminated": {"exitCode": 1, "message": "x\nboom", "finishedAt": "2026-01-01T23:58:00Z"}}
CRASHING: Object = {"restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": CRASHED}
UNPULLED: Object = {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such tag"}}}


def resource(status: Object | None = None, **spec: Any) -> Object:
    metadata = {"name": "m", "namespace": "ns", "uid": "u1", "generation": 3}
    spec = {"model": {"uri": "hf://org/name"}, **spec}
    kind = {"apiVersion": "pagoda.dev/v1alpha1", "kind": "ModelDeployment"}
    return {**kind, "metadata": metadata, "spec": spec, "status": status or {}}


def pod(name: str, revision: str, *, ready: bool = False, status: Object | None = None, **server: Any) -> Object:
    """A pod of a revision, whose container `server` is in the state given."""
    conditions = [{"type": "Ready", "status": str(ready)}, *(status or {}).get("conditions", [])]
    limits = {"requests": {"nvidia.com/gpu": "1"}}
    return {
        "metadata": {"name": name, "uid": name, "labels": {"pagoda.dev/revision": revision}},
        "spec": {"containers": [{"name": "server", "resources": limits}]},
        "status": {**(status or {}), "conditions": conditions, "containerStatuses": [{"name": "server", **server}]},
    }


def unschedulable(message: str) -> Object:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    return {"conditions": [condition]}


def applied(raw: Object, **seen: Any) -> list[Object]:
    """The children of a ModelDeployment as its plan has them."""
    found = copy.deepcopy(plan(world_of(raw, **seen), NOW, SETTINGS).objects)
    return [{**obj, "metadata": {**obj["metadata"], "uid": obj["kind"]}} for obj in found]


def deployment_of(children: list[Object]) -> Object:
    return next(child for child in children if child["kind"] == "Deployment")


def revision_in(children: list[Object]) -> str:
    return str(deployment_of(children)["spec"]["template"]["metadata"]["labels"]["pagoda.dev/revision"])


def planned(world: World) -> ReconcilePlan:
    return plan(world, NOW, SETTINGS)


def condition(world: World, kind: str) -> Object:
    return next((c for c in planned(world).status["conditions"] if c["type"] == kind), {})


def verdict(world: World, kind: str = "Ready") -> tuple[str, str]:
    found = condition(world, kind)
    return found["status"], found["reason"]
