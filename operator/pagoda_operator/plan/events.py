"""The events of one reconcile: what its status says otherwise than the one before, so the same is never told again.

They are written only when that status has been, and nothing else is remembered of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pagoda_operator.api.reasons import Reason
from pagoda_operator.kube.objects import Object
from pagoda_operator.plan.world import World

EMBEDDING = (Reason.ROLLOUT_FAILING, Reason.DEGRADED)
"""Reasons whose message has another reason in it."""
_TOLD_WHEN_TRUE = {"ModelFetched": (Reason.FETCHED,), "Ingress": (Reason.WRITTEN, Reason.UNKNOWN_CONTROLLER)}
_CALM = (Reason.SERVING, Reason.SCALED_TO_ZERO, Reason.STARTING, Reason.FETCHED, Reason.WRITTEN)


@dataclass(frozen=True, slots=True)
class Event:
    type: Literal["Normal", "Warning"]
    reason: str
    message: str


def plan_events(world: World, status: Object) -> tuple[Event, ...]:
    """Returns at most one event a reason, the most telling one."""
    before = {c.get("type"): c for c in world.before.get("conditions", [])}
    told: dict[str, Event] = {}
    for event in (*_verdicts(before, status), *_milestones(before, status), *_changes(world, status)):
        told.setdefault(event.reason, event)
    return tuple(told.values())


def _verdicts(before: dict[str, Object], status: Object) -> Iterator[Event]:
    """Yields a new Ready and a new Stalled, but not a Stalled that the Ready now or before has told of."""
    now = {condition["type"]: condition for condition in status["conditions"]}
    ready, stalled = now["Ready"], now.get("Stalled")
    is_news = _has_changed(before, ready)
    if is_news:
        yield _event(ready)
    if stalled is None or not _has_changed(before, stalled) or stalled["reason"] == ready["reason"]:
        return
    if not (is_news and ready["reason"] in EMBEDDING and f"{stalled['reason']}: " in ready["message"]):
        yield Event("Warning", stalled["reason"], stalled["message"])


def _milestones(before: dict[str, Object], status: Object) -> Iterator[Event]:
    """Yields that the model's files have come, that the way in has, that a rollout was halted or let go on."""
    for condition in status["conditions"]:
        reasons = _TOLD_WHEN_TRUE.get(condition["type"], ())
        if condition["status"] == "True" and condition["reason"] in reasons and _has_changed(before, condition):
            yield _event(condition)
        if condition["type"] == "Progressing":
            was_paused = before.get("Progressing", {}).get("reason") == Reason.PAUSED
            if condition["reason"] == Reason.PAUSED and not was_paused:
                yield Event("Normal", Reason.PAUSED, condition["message"])
            elif was_paused and condition["reason"] != Reason.PAUSED:
                yield Event("Normal", Reason.RESUMED, "the Deployment is no longer paused")


def _changes(world: World, status: Object) -> Iterator[Event]:
    """Yields what the other figures of the status tell: revisions, replicas, the capacity."""
    before = world.before
    old, new = before.get("revision"), status.get("revision")
    if old is not None and new is not None and old != new:
        yield Event("Normal", Reason.ROLLOUT_STARTED, f"from revision {old} to {new}")
    if new is not None and _has_completed(before, status):
        yield Event("Normal", Reason.ROLLOUT_COMPLETE, f"every replica has revision {new}")
    was, wanted = before.get("wantedReplicas"), status.get("wantedReplicas")
    if was is not None and wanted is not None and was != wanted:
        by = "the HPA" if world.mdep is not None and world.mdep.spec.autoscaling is not None else "spec.replicas"
        yield Event("Normal", Reason.SCALED, f"from {was} to {wanted} replicas, by {by}")
    if _is_measured_anew(before.get("capacity") or {}, status.get("capacity") or {}):
        capacity = status["capacity"]
        said = f"a replica serves {capacity['tokensPerSecond']:g} tokens per second ({capacity['source']})"
        yield Event("Normal", Reason.CAPACITY_MEASURED, said)


def _has_completed(before: Object, status: Object) -> bool:
    """Returns whether a rollout is over. NB: a status of release 0.1.0 that was complete does not say of what."""
    complete = status.get("completeRevision")
    was_at_rest = any(c.get("reason") == Reason.COMPLETE for c in before.get("conditions", []))
    is_known = "completeRevision" in before or not was_at_rest or before.get("revision") != complete
    return complete is not None and complete != before.get("completeRevision") and is_known


def _is_measured_anew(before: Object, after: Object) -> bool:
    """Returns whether a capacity is the first of its kind. NB: under load it is corrected often, by a little."""
    if not after or after.get("measuredAt") == before.get("measuredAt"):
        return False
    return any(before.get(part) != after.get(part) for part in ("key", "source"))


def _has_changed(before: dict[str, Object], condition: Object) -> bool:
    old = before.get(condition["type"], {})
    return (old.get("status"), old.get("reason")) != (condition["status"], condition["reason"])


def _event(condition: Object) -> Event:
    calm = condition["reason"] in _CALM
    return Event("Normal" if calm else "Warning", condition["reason"], condition["message"])
