"""How far a rollout is: how many replicas are wanted, ready and of the current revision, and what holds it up."""

from pagoda_operator.api import ModelDeployment
from pagoda_operator.api.reasons import Reason
from pagoda_operator.kube.objects import Object
from pagoda_operator.kube.pods import is_ready
from pagoda_operator.plan.children import lacks_surge_capacity, replicas_now
from pagoda_operator.plan.pods import Finding
from pagoda_operator.plan.world import World


def check_starting(world: World) -> Finding | None:
    ready, wanted = ready_and_wanted(world)
    if ready >= wanted:
        return None
    return Finding(Reason.STARTING, f"{ready} of {wanted} replicas are ready")


def check_no_surge(world: World) -> Finding | None:
    if not lacks_surge_capacity(world):
        return None
    return Finding(
        Reason.NO_SURGE_CAPACITY, "no GPU is free for an additional pod: replicas are replaced in place, one by one"
    )


def check_paused(world: World) -> Finding | None:
    deployment = world.child("Deployment") or {}
    if not deployment.get("spec", {}).get("paused"):
        return None
    name = deployment["metadata"]["name"]
    return Finding(Reason.PAUSED, f"the Deployment is paused: kubectl rollout resume deployment/{name} resumes it")


def check_rollout(world: World) -> Finding | None:
    if (stuck := check_deadline(world)) is not None:
        return stuck
    ready, wanted = ready_and_wanted(world)
    updated = count_updated(world)
    old = max(0, int((world.child("Deployment") or {}).get("status", {}).get("replicas", 0)) - updated)
    if updated >= wanted and not old and ready >= wanted:
        return None
    return Finding(
        Reason.PROGRESSING, f"{updated} of {wanted} replicas have the new revision, {old} an old one; {ready} are ready"
    )


def check_deadline(world: World) -> Finding | None:
    status = (world.child("Deployment") or {}).get("status", {})
    if any(c["type"] == "Progressing" and c["status"] == "False" for c in status.get("conditions", [])):
        return Finding(Reason.ROLLOUT_STUCK, "the rollout has made no progress within its deadline")
    return None


def count_updated(world: World) -> int:
    """Returns the number of replicas of the current revision."""
    deployment = world.child("Deployment") or {}
    return int(deployment.get("status", {}).get("updatedReplicas", 0)) if _is_observed(deployment) else 0


def _is_observed(deployment: Object) -> bool:
    """Returns False while the figures are those of the spec before."""
    generation = deployment.get("metadata", {}).get("generation", 0)
    return int(deployment.get("status", {}).get("observedGeneration", generation)) >= int(generation)


def is_zero(world: World) -> bool:
    return world.mdep is not None and ready_and_wanted(world) == (0, 0)


def ready_and_wanted(world: World) -> tuple[int, int]:
    ready = sum(is_ready(pod) for pod in world.pods)
    return ready, _wanted(world, world.mdep)


def _wanted(world: World, mdep: ModelDeployment | None) -> int:
    return replicas_now(world, mdep) if mdep is not None else 1
