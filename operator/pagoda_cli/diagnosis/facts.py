"""The facts that the screens show and that `-o json` prints. Pure: made of what was observed and of the time."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from pagoda_cli.diagnosis.observed import Observed, age_seconds
from pagoda_cli.text import one_line
from pagoda_operator.kube.objects import Object
from pagoda_operator.kube.pods import is_ready

REVISION = "deployment.kubernetes.io/revision"
LAST_EVENTS = 8


@dataclass(frozen=True, slots=True)
class ConditionFact:
    type: str
    status: str
    reason: str
    message: str
    age_seconds: float | None


@dataclass(frozen=True, slots=True)
class PodFact:
    name: str
    is_ready: bool
    state: str
    """What kubectl shows: Running, Pending, CrashLoopBackOff, Init:Error …"""
    restarts: int
    revision: str
    node: str
    age_seconds: float | None
    queued: int | None


@dataclass(frozen=True, slots=True)
class RevisionFact:
    name: str
    number: int
    ready: int
    replicas: int
    is_current: bool


@dataclass(frozen=True, slots=True)
class HpaFact:
    minimum: int
    current: int
    desired: int
    maximum: int


@dataclass(frozen=True, slots=True)
class EventFact:
    age_seconds: float | None
    type: str
    about: str
    reason: str
    message: str
    count: int


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """A model at one time. Figures that are not known are None."""

    namespace: str
    name: str
    uri: str
    url: str
    ready: str
    """True, False or Unknown, as the condition says; Unknown where there is none."""
    reason: str
    message: str
    ready_replicas: int
    replicas: int
    revision: str
    tokens_per_second: float | None
    capacity_tokens_per_second: float | None
    """The sum over all ready replicas."""
    capacity_source: str
    used_percent: float | None
    running: int | None
    queued: int | None
    queued_tokens: int | None
    hpa: HpaFact | None
    age_seconds: float | None
    conditions: tuple[ConditionFact, ...]
    pods: tuple[PodFact, ...]
    revisions: tuple[RevisionFact, ...]
    events: tuple[EventFact, ...]
    unread: tuple[str, ...]


def build_facts(seen: Observed, now: datetime) -> ModelFacts:
    status, meta = seen.status, seen.mdep["metadata"]
    conditions = tuple(_conditions(status, now))
    ready = next((c for c in conditions if c.type == "Ready"), ConditionFact("Ready", "Unknown", "NotSeen", "", None))
    pods, ready_replicas = tuple(_pods(seen, now)), int(status.get("readyReplicas") or 0)
    rate = (status.get("load") or {}).get("tokensPerSecond")
    capacity = status.get("capacity") or {}
    of_one = capacity.get("tokensPerSecond")
    total = of_one * ready_replicas if of_one and ready_replicas else None
    loads = list(seen.loads.values())
    whole = bool(loads) and len(loads) == sum(pod.is_ready for pod in pods)
    return ModelFacts(
        namespace=seen.namespace,
        name=seen.name,
        uri=str(((seen.mdep.get("spec") or {}).get("model") or {}).get("uri", "")),
        url=str(status.get("url", "")),
        ready=ready.status,
        reason=ready.reason,
        message=ready.message,
        ready_replicas=ready_replicas,
        replicas=_wanted(seen),
        revision=str(status.get("revision", "")),
        tokens_per_second=rate,
        capacity_tokens_per_second=total,
        capacity_source=str(capacity.get("source", "")),
        used_percent=round(100 * rate / total, 1) if rate is not None and total else None,
        running=sum(load.running for load in loads) if whole else None,
        queued=sum(load.queued for load in loads) if whole else None,
        queued_tokens=sum(load.queued_tokens for load in loads) if whole else None,
        hpa=_hpa(seen.hpa),
        age_seconds=age_seconds(meta.get("creationTimestamp"), now),
        conditions=conditions,
        pods=pods,
        revisions=tuple(_revisions(seen)),
        events=tuple(_event(event, now) for event in seen.events[-LAST_EVENTS:]),
        unread=seen.unread,
    )


def to_data(facts: Any) -> Any:
    """Returns facts as JSON has them: mappings with camelCase keys, lists, text, numbers, null."""
    return _camel(asdict(facts))


def _camel(value: Any) -> Any:
    if isinstance(value, dict):
        return {re.sub("_([a-z])", lambda m: m[1].upper(), key): _camel(item) for key, item in value.items()}
    return [_camel(item) for item in value] if isinstance(value, (list, tuple)) else value


def _conditions(status: Any, now: datetime) -> Iterator[ConditionFact]:
    for condition in status.get("conditions") or ():
        yield ConditionFact(
            type=str(condition.get("type", "")),
            status=str(condition.get("status", "")),
            reason=str(condition.get("reason", "")),
            message=one_line(str(condition.get("message", ""))),
            age_seconds=age_seconds(condition.get("lastTransitionTime"), now),
        )


def _wanted(seen: Observed) -> int:
    spec = seen.mdep.get("spec") or {}
    deployed = ((seen.deployment or {}).get("spec") or {}).get("replicas")
    return int(deployed if deployed is not None else spec.get("replicas") or seen.status.get("replicas") or 0)


def _hpa(hpa: Object | None) -> HpaFact | None:
    if hpa is None:
        return None
    spec, status = hpa.get("spec") or {}, hpa.get("status") or {}
    current = int(status.get("currentReplicas") or 0)
    return HpaFact(
        minimum=int(spec.get("minReplicas") or 1),
        current=current,
        desired=int(status.get("desiredReplicas") or current),
        maximum=int(spec.get("maxReplicas") or 0),
    )


def _pods(seen: Observed, now: datetime) -> Iterator[PodFact]:
    for pod in sorted(seen.pods, key=lambda pod: str(pod["metadata"]["name"])):
        meta, name = pod["metadata"], str(pod["metadata"]["name"])
        load = seen.loads.get(name)
        yield PodFact(
            name=name,
            is_ready=is_ready(pod),
            state=describe_state(pod),
            restarts=sum(int(c.get("restartCount", 0)) for c in list_containers(pod)),
            revision=str((meta.get("labels") or {}).get("pod-template-hash", "")),
            node=str((pod.get("spec") or {}).get("nodeName", "")),
            age_seconds=age_seconds(meta.get("creationTimestamp"), now),
            queued=load.queued if load else None,
        )


def list_containers(pod: Object) -> list[Object]:
    """Returns the states of a pod's containers, in the order in which they start."""
    status = pod.get("status") or {}
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]


def describe_state(pod: Object) -> str:
    """Returns one word for a pod's state, in the words of kubectl."""
    status = pod.get("status") or {}
    if pod["metadata"].get("deletionTimestamp"):
        return "Terminating"
    for container in list_containers(pod):
        state = container.get("state") or {}
        waiting, ended = state.get("waiting") or {}, state.get("terminated") or {}
        if waiting.get("reason") not in (None, "PodInitializing", "ContainerCreating"):
            return str(waiting["reason"])
        if ended.get("exitCode", 0) != 0:
            return str(ended.get("reason") or "Error")
    phase = str(status.get("phase") or "Unknown")
    unplaced = any(c.get("reason") == "Unschedulable" for c in status.get("conditions") or ())
    return "Unschedulable" if phase == "Pending" and unplaced else phase


def _revisions(seen: Observed) -> Sequence[RevisionFact]:
    found = []
    for replica_set in seen.replica_sets:
        status = replica_set.get("status") or {}
        number = str((replica_set["metadata"].get("annotations") or {}).get(REVISION, "0"))
        labels = replica_set["metadata"].get("labels") or {}
        name = str(labels.get("pod-template-hash", replica_set["metadata"]["name"]))
        ready, replicas = int(status.get("readyReplicas") or 0), int(status.get("replicas") or 0)
        found.append(RevisionFact(name, int(number) if number.isdecimal() else 0, ready, replicas, False))
    found.sort(key=lambda revision: -revision.number)
    current = found[0].number if found else 0
    return [
        RevisionFact(r.name, r.number, r.ready, r.replicas, r.number == current)
        for r in found
        if r.replicas or r.number == current
    ]


def event_time(event: Object) -> str:
    """Returns when an event last happened, as text that sorts."""
    series = (event.get("series") or {}).get("lastObservedTime")
    times = (event.get("lastTimestamp"), series, event.get("eventTime"), event["metadata"].get("creationTimestamp"))
    return str(next((time for time in times if time), ""))


def _event(event: Object, now: datetime) -> EventFact:
    about = event.get("involvedObject") or {}
    return EventFact(
        age_seconds=age_seconds(event_time(event), now),
        type=str(event.get("type", "")),
        about=f"{about.get('kind', '')}/{about.get('name', '')}",
        reason=str(event.get("reason", "")),
        message=one_line(str(event.get("message", ""))),
        count=int(event.get("count") or (event.get("series") or {}).get("count") or 1),
    )
