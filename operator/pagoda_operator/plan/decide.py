"""The one decision of the operator: what is to be there, what is to go, what the status says, when to look again."""

from dataclasses import dataclass, replace
from datetime import datetime

from pagoda_operator.api.reasons import Reason
from pagoda_operator.kube.objects import Object
from pagoda_operator.objects.settings import BuildSettings
from pagoda_operator.plan.children import plan_children
from pagoda_operator.plan.events import Event, plan_events
from pagoda_operator.plan.ownership import is_controlled_by
from pagoda_operator.plan.status import plan_capacity, plan_status
from pagoda_operator.plan.world import World

SETTLED_SECONDS = 30.0
MOVING_SECONDS = 5.0
_NEVER_DELETED = {"PersistentVolumeClaim"}  # weights are dear: a claim goes with its ModelDeployment, not before
_OWN_KINDS = {
    "Deployment",
    "Service",
    "Ingress",
    "HorizontalPodAutoscaler",
    "PodDisruptionBudget",
    "NetworkPolicy",
    "PodMonitor",
    "PrometheusRule",
}


@dataclass(frozen=True, slots=True)
class ObjectRef:
    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class ReconcilePlan:
    objects: tuple[Object, ...]
    deletions: tuple[ObjectRef, ...]
    status: Object
    events: tuple[Event, ...]
    requeue_seconds: float | None


def plan(world: World, now: datetime, settings: BuildSettings) -> ReconcilePlan:
    """Returns what is to be done about one ModelDeployment.

    One that breaks the rules changes nothing but its status; one that is being deleted, nothing at all.
    """
    if world.raw["metadata"].get("deletionTimestamp"):
        return ReconcilePlan((), (), world.before, (), None)
    world = replace(world, at=now)
    if world.mdep is None:
        status = plan_status(world, now, objects=(), capacity=None)
        return ReconcilePlan((), (), status, plan_events(world, status), None)
    capacity = plan_capacity(world, world.mdep, now)
    known = float(capacity["tokensPerSecond"]) if capacity else None
    objects = plan_children(world, world.mdep, settings, known)
    status = plan_status(world, now, objects=objects, capacity=capacity)
    return ReconcilePlan(objects, _deletions(world, objects), status, plan_events(world, status), _requeue(status))


def _deletions(world: World, objects: tuple[Object, ...]) -> tuple[ObjectRef, ...]:
    wanted = {(obj["kind"], obj["metadata"]["name"]) for obj in objects}
    kept = {"Ingress"} if _is_ingress_unknown(world) else set()
    return tuple(
        _ref(child)
        for child in world.children
        if child["kind"] in _OWN_KINDS - _NEVER_DELETED - kept
        and (child["kind"], child["metadata"]["name"]) not in wanted
        and "deletionTimestamp" not in child["metadata"]
        and is_controlled_by(child, world.uid)
    )


def _is_ingress_unknown(world: World) -> bool:
    """Returns whether an Ingress is wanted, and nobody can say which, because classes may not be read."""
    wanted = world.mdep is not None and world.mdep.spec.ingress is not None
    return wanted and "IngressClass" in world.unread_kinds


def _ref(child: Object) -> ObjectRef:
    metadata = child["metadata"]
    return ObjectRef(
        child["apiVersion"], child["kind"], metadata["namespace"], metadata["name"], str(metadata.get("uid", ""))
    )


def _requeue(status: Object) -> float:
    return SETTLED_SECONDS if all(map(_is_settled, status["conditions"])) else MOVING_SECONDS


def _is_settled(condition: Object) -> bool:
    good = "False" if condition["type"] in ("Progressing", "Reconciling", "Stalled") else "True"
    return bool(condition["status"] == good or condition["reason"] == Reason.SCALED_TO_ZERO)
