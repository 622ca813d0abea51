"""What a pod says of itself: whose it is, whether it serves, what keeps it from starting. Pure."""

import re
from collections.abc import Mapping
from typing import Any

from pagoda_operator.kube.objects import Object

_INSUFFICIENT = re.compile(r"(\d+) Insufficient ([A-Za-z0-9./_-]+?)[.,]?(?=\s|$|,|\.\s)")


_AFTERTHOUGHT = re.compile(r"(?<=\.) (?:preemption: .*|not found)$", re.DOTALL)
"""What the scheduler adds about pods that it might evict: it repeats the cause, or says that it found none."""


def is_ready(pod: Mapping[str, Any]) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    deleted = pod["metadata"].get("deletionTimestamp") is not None
    return not deleted and any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def is_to_run(pod: Mapping[str, Any]) -> bool:
    """Returns whether the pod is neither on its way out nor over, as an evicted one is until somebody deletes it."""
    over = pod.get("status", {}).get("phase") in ("Succeeded", "Failed")
    return pod["metadata"].get("deletionTimestamp") is None and not over


def is_made_by(pod: Mapping[str, Any], deployment: str) -> bool:
    """Returns whether a ReplicaSet of this Deployment controls the pod, by the name that Deployments give ReplicaSets.

    NB: labels alone are anybody's. A reference to a ReplicaSet that does not exist has the garbage collector delete the
    pod; one to a real ReplicaSet makes the pod one of its replicas.
    """
    meta = pod["metadata"]
    revision = (meta.get("labels") or {}).get("pod-template-hash")
    replica_set = ("apps/v1", "ReplicaSet", f"{deployment}-{revision}")
    owners = (owner for owner in meta.get("ownerReferences") or () if owner.get("controller"))
    return bool(revision) and any((o.get("apiVersion"), o.get("kind"), o.get("name")) == replica_set for o in owners)


def waits_for_node(pod: Object) -> bool:
    """Returns whether the pod is scheduled and no container has begun: only events tell why."""
    status = pod.get("status", {})
    if status.get("phase") != "Pending" or "deletionTimestamp" in pod["metadata"]:
        return False
    placed = any(c["type"] == "PodScheduled" and c["status"] == "True" for c in status.get("conditions", []))
    states = [c.get("state", {}) for c in status.get("initContainerStatuses", [])]
    return placed and all((state.get("waiting") or {}).get("reason") == "PodInitializing" for state in states)


def unschedulable_message(pod: Object) -> str | None:
    """Returns why no node will do, as the scheduler says it; None for a pod that is placed or not looked at yet."""
    for condition in pod.get("status", {}).get("conditions", []):
        if condition["type"] == "PodScheduled" and condition.get("reason") == "Unschedulable":
            return shorten_scheduling(str(condition.get("message", "")))
    return None


def shorten_scheduling(message: str) -> str:
    """Returns a message of the scheduler without what it says of preemption."""
    return _AFTERTHOUGHT.sub("", message)


def insufficient_resources(message: str) -> dict[str, int]:
    """Returns, by resource, how many nodes have too little of it, as the scheduler's message says."""
    return {resource.rstrip("."): int(nodes) for nodes, resource in _INSUFFICIENT.findall(message)}


def requested(pod: Object, resource: str) -> str | None:
    for container in pod.get("spec", {}).get("containers", []):
        amount = container.get("resources", {}).get("requests", {}).get(resource)
        if amount is not None:
            return str(amount)
    return None
