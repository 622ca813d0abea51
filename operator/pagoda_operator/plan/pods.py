"""What is wrong with the pods, in the user's words. One named check per trouble; the first to find one wins."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from pagoda_operator.api.reasons import Reason
from pagoda_operator.kube.objects import Object
from pagoda_operator.kube.pods import (
    insufficient_resources,
    is_to_run,
    requested,
    unschedulable_message,
    waits_for_node,
)
from pagoda_operator.plan.world import World


@dataclass(frozen=True, slots=True)
class Finding:
    reason: Reason
    message: str


Check = Callable[[World], Finding | None]


def first_problem(chain: Iterable[Check], world: World) -> Finding | None:
    return next((problem for check in chain if (problem := check(world)) is not None), None)


LOOP_SECONDS = 600.0
"""How long a container that has crashed more than once must run to loop no more: the kubelet's own measure."""
_PULL_REASONS = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"}
_FETCH_REASONS = (Reason.MODEL_NOT_FOUND, Reason.MODEL_DOWNLOAD_DENIED, Reason.MODEL_DOWNLOAD_FAILED)
_NO_SECRET = re.compile(r'secret "([^"]+)" not found')


def check_fetch(world: World) -> Finding | None:
    for _, container in _containers(world, "fetch"):
        message = _terminated(container).get("message", "").strip()
        for reason in _FETCH_REASONS:
            found = re.search(rf"{reason}: ?(.*)", message)
            if found:
                return Finding(reason, found.group(1).strip() or message)
    return None


def check_image_pull(world: World) -> Finding | None:
    for pod, container in _containers(world):
        waiting = container.get("state", {}).get("waiting", {})
        if waiting.get("reason") in _PULL_REASONS:
            detail = waiting.get("message", waiting["reason"])
            return Finding(Reason.IMAGE_PULL_FAILED, f"{container['name']} of {_name(pod)}: {detail}")
    return None


def check_scheduling(world: World) -> Finding | None:
    for pod in _pods(world):
        message = unschedulable_message(pod)
        if message is not None:
            return Finding(Reason.UNSCHEDULABLE, _explain_unschedulable(pod, message))
    return None


def check_out_of_memory(world: World) -> Finding | None:
    for pod, container in _containers(world):
        if _failed(world, pod, container).get("reason") == "OOMKilled":
            limit = _memory_limit(pod, container["name"])
            if limit is None:
                return Finding(
                    Reason.OUT_OF_MEMORY,
                    f"{container['name']} of {_name(pod)} was killed because the node ran out of memory (the container "
                    "has no limit): set spec.resources.memory",
                )
            return Finding(
                Reason.OUT_OF_MEMORY,
                f"{container['name']} of {_name(pod)} was killed at its memory limit of {limit}: "
                "raise spec.resources.memory",
            )
    return None


def check_crash_loop(world: World) -> Finding | None:
    for pod, container in _containers(world):
        waiting = container.get("state", {}).get("waiting", {})
        again = container.get("restartCount", 0) > 0 and _failed(world, pod, container)
        if waiting.get("reason") == "CrashLoopBackOff" or again:
            ended = _terminated(container)
            line = _last_line(ended.get("message", "")) or "it said nothing"
            code = ended.get("exitCode", "?")
            return Finding(
                Reason.CRASH_LOOPING,
                f"{container['name']} of {_name(pod)} ended {container.get('restartCount', 0)} times, "
                f"last with exit code {code}: {line}",
            )
    return None


def check_container_config(world: World) -> Finding | None:
    for pod, container in _containers(world):
        waiting = container.get("state", {}).get("waiting", {})
        if waiting.get("reason") == "CreateContainerConfigError":
            message = str(waiting.get("message", ""))
            return _missing_secret(message) or Finding(
                Reason.CONFIG_MISSING, f"{container['name']} of {_name(pod)}: {message}"
            )
    return None


def check_created(world: World) -> Finding | None:
    """Finds a quota, a limit range or an admission policy that keeps the pods from being created."""
    for condition in (world.child("Deployment") or {}).get("status", {}).get("conditions", []):
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            return Finding(Reason.PODS_NOT_CREATED, str(condition.get("message", condition.get("reason", ""))))
    return None


def check_stuck(world: World) -> Finding | None:
    """Finds the kubelet's latest complaint about a pod that does not start."""
    stuck = {_name(pod) for pod in world.pods if waits_for_node(pod)}
    for event in reversed(world.events):
        name = event.get("involvedObject", {}).get("name")
        if name in stuck:
            message = str(event.get("message", ""))
            mount = event.get("reason") in ("FailedMount", "FailedAttachVolume")
            reason = Reason.VOLUME_NOT_MOUNTED if mount else Reason.POD_NOT_STARTING
            return _missing_secret(message) or Finding(reason, f"{name}: {message}")
    return None


def _missing_secret(message: str) -> Finding | None:
    found = _NO_SECRET.search(message)
    if found is None:
        return None
    return Finding(
        Reason.SECRET_NOT_FOUND, f"the spec names the Secret {found.group(1)}, which does not exist in this namespace"
    )


POD_CHECKS: tuple[Check, ...] = (
    check_created,
    check_fetch,
    check_image_pull,
    check_container_config,
    check_out_of_memory,
    check_crash_loop,
    check_scheduling,
    check_stuck,
)


def cannot_run(world: World) -> bool:
    """Returns whether a pod's images cannot be pulled, or crash."""
    return check_image_pull(world) is not None or check_crash_loop(world) is not None


def _explain_unschedulable(pod: Object, message: str) -> str:
    short = insufficient_resources(message)
    if not short:
        return f"{_name(pod)}: {message}"
    parts = [
        f"{resource} (it asks for {requested(pod, resource) or 'some'}; {nodes} node{'s' * (nodes != 1)} too short)"
        for resource, nodes in sorted(short.items())
    ]
    return f"no node has enough {' and '.join(parts)} for {_name(pod)}. {message}"


def _pods(world: World) -> list[Object]:
    """Returns the pods that are to run, in an order that gives the same words after a restart."""
    return sorted(filter(is_to_run, world.pods), key=_name)


def _containers(world: World, only: str | None = None) -> Iterator[tuple[Object, Object]]:
    for pod in _pods(world):
        status = pod.get("status", {})
        for container in (*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])):
            if only is None or container["name"] == only:
                yield pod, container


def _terminated(container: Object) -> Object:
    state = container.get("state", {}).get("terminated") or container.get("lastState", {}).get("terminated") or {}
    return {} if state.get("exitCode") == 0 else state


def _failed(world: World, pod: Object, container: Object) -> Object:
    """Returns how the container ended by a fault, unless it is over: the pod has been ready since, and does not loop.

    NB: between two crashes it runs for a while, and may be ready.
    """
    if _loops(world, container):
        return _terminated(container)
    started = container.get("state", {}).get("running", {}).get("startedAt", "")
    for condition in pod.get("status", {}).get("conditions", []):
        if condition["type"] == "Ready":
            was_ready = condition["status"] == "True" or "" < started < condition.get("lastTransitionTime", "")
            return {} if was_ready else _terminated(container)
    return _terminated(container)


def _loops(world: World, container: Object) -> bool:
    """Returns whether the container has ended again and again, and lately."""
    ended = _terminated(container).get("finishedAt")
    if container.get("restartCount", 0) < 2 or world.at is None or not isinstance(ended, str):
        return False
    try:
        return (world.at - datetime.fromisoformat(ended)).total_seconds() < LOOP_SECONDS
    except (ValueError, TypeError):
        return False


def _memory_limit(pod: Object, name: str) -> str | None:
    spec = pod.get("spec", {})
    for container in (*spec.get("initContainers", []), *spec.get("containers", [])):
        if container["name"] == name:
            limit = container.get("resources", {}).get("limits", {}).get("memory")
            return None if limit is None else str(limit)
    return None


def _last_line(message: str) -> str:
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return lines[-1][:500] if lines else ""


def _name(pod: Object) -> str:
    return str(pod["metadata"]["name"])
