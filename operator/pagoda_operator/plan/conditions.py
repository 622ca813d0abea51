"""The conditions: each is an ordered chain of named checks, and the first that finds a problem is the reason."""

from collections.abc import Collection, Iterable
from datetime import datetime

from pagoda_operator.api import ModelDeployment
from pagoda_operator.api.reasons import Reason
from pagoda_operator.kube.objects import Object
from pagoda_operator.kube.pods import is_ready
from pagoda_operator.plan.children import lacks_surge_capacity, replicas_now
from pagoda_operator.plan.ingress_class import choose_ingress_class
from pagoda_operator.plan.ingress_rules import find_ingress_refusal
from pagoda_operator.plan.loads import STALE_LOAD_SECONDS
from pagoda_operator.plan.pods import POD_CHECKS, Check, Finding, check_fetch
from pagoda_operator.plan.world import World

_DEFAULT_STORAGE = "storageclass.kubernetes.io/is-default-class"


def check_spec(world: World) -> Finding | None:
    if world.mdep is not None:
        return None
    return Finding(world.parse_reason, world.parse_error)


def check_names(world: World) -> Finding | None:
    if not world.taken:
        return None
    name = world.raw["metadata"]["name"]
    return Finding(
        Reason.NAME_TAKEN,
        f"{' and '.join(world.taken)} already exists and does not belong to this ModelDeployment: delete or rename it, "
        f"or give the ModelDeployment another name than {name}",
    )


def check_storage_class(world: World) -> Finding | None:
    cache = world.mdep.spec.model.cache if world.mdep else None
    claim = world.child("PersistentVolumeClaim")
    if "StorageClass" in world.unread_kinds:
        return None  # the claim's own state says the rest
    if cache is None or cache.pvc is None or (claim or {}).get("status", {}).get("phase") == "Bound":
        return None
    wanted = cache.pvc.storage_class_name
    if wanted is None:
        if any((c["metadata"].get("annotations") or {}).get(_DEFAULT_STORAGE) == "true" for c in world.storage_classes):
            return None
        return Finding(
            Reason.NO_STORAGE_CLASS,
            f"the cluster has no default StorageClass: set spec.model.cache.pvc.storageClassName "
            f"({_names(world.storage_classes)})",
        )
    if any(c["metadata"]["name"] == wanted for c in world.storage_classes):
        return None
    return Finding(Reason.NO_STORAGE_CLASS, f"there is no StorageClass {wanted} ({_names(world.storage_classes)})")


def check_ingress_class(world: World) -> Finding | None:
    if world.mdep is None or world.mdep.spec.ingress is None or choose_ingress_class(world) is not None:
        return None
    if "IngressClass" in world.unread_kinds:
        return Finding(
            Reason.NO_INGRESS_CLASS,
            "the operator may not read IngressClasses, so it does not know how to write an Ingress: let the chart make "
            "its ClusterRole (rbac.clusterRoles), or remove spec.ingress",
        )
    wanted = world.mdep.spec.ingress.class_name
    said = f"there is no IngressClass {wanted}" if wanted else "no IngressClass is the default one or the only one"
    return Finding(Reason.NO_INGRESS_CLASS, f"{said}: set spec.ingress.className ({_names(world.ingress_classes)})")


def check_ingress_rules(world: World) -> Finding | None:
    refusal = find_ingress_refusal(world.mdep, world.ingress_rules) if world.mdep else None
    return Finding(Reason.INGRESS_NOT_ALLOWED, refusal) if refusal else None


def check_applied(world: World) -> Finding | None:
    return _refused(world, {refusal.kind for refusal in world.refusals})


def check_what_serves(world: World) -> Finding | None:
    """Finds a refused object without which there is no pod, or no way to it."""
    return _refused(world, {"Deployment", "PersistentVolumeClaim", "Service", "Ingress"})


def check_way_in(world: World) -> Finding | None:
    return _refused(world, {"Ingress"} if world.child("Service") else {"Ingress", "Service"})


def check_pods_applied(world: World) -> Finding | None:
    return _refused(world, {"Deployment", "PersistentVolumeClaim"})


def _refused(world: World, kinds: Collection[str]) -> Finding | None:
    said = "; ".join(str(refusal) for refusal in world.refusals if refusal.kind in kinds)
    return Finding(Reason.APPLY_FAILED, said) if said else None


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
    deployment = world.child("Deployment") or {}
    status = deployment.get("status", {})
    ready, wanted = ready_and_wanted(world)
    if any(c["type"] == "Progressing" and c["status"] == "False" for c in status.get("conditions", [])):
        return Finding(Reason.ROLLOUT_STUCK, "the rollout has made no progress within its deadline")
    updated = int(status.get("updatedReplicas", 0)) if _is_observed(deployment) else 0
    old = max(0, int(status.get("replicas", 0)) - updated)
    if updated >= wanted and not old and ready >= wanted:
        return None
    return Finding(
        Reason.PROGRESSING, f"{updated} of {wanted} replicas have the new revision, {old} an old one; {ready} are ready"
    )


def _is_observed(deployment: Object) -> bool:
    """Returns False while the figures are those of the spec before."""
    generation = deployment.get("metadata", {}).get("generation", 0)
    return int(deployment.get("status", {}).get("observedGeneration", generation)) >= int(generation)


def check_metrics(world: World) -> Finding | None:
    if (refused := _refused(world, {"HorizontalPodAutoscaler"})) is not None:
        return refused
    hpa = world.child("HorizontalPodAutoscaler")
    for condition in (hpa or {}).get("status", {}).get("conditions", []):
        if condition["type"] in ("AbleToScale", "ScalingActive") and condition["status"] == "False":
            return Finding(Reason.METRICS_MISSING, f"{condition.get('reason', '')}: {condition.get('message', '')}")
    if hpa is None:
        return Finding(
            Reason.METRICS_MISSING, "the capacity of a replica has not been measured yet, so there is no HPA"
        )
    if world.has_stale_load:
        return Finding(Reason.METRICS_MISSING, f"the pods' figures are older than {STALE_LOAD_SECONDS:.0f} s")
    return None


def compute_conditions(world: World, now: datetime) -> list[Object]:
    chains: dict[str, tuple[Check, ...]] = {"Ready": _ready_chain(world)}
    chains["ModelFetched"] = (check_spec, check_storage_class, check_fetch, _check_fetched)
    chains["PodsReady"] = (check_spec, check_pods_applied, check_storage_class, *POD_CHECKS, check_starting)
    if world.mdep is not None and world.mdep.spec.autoscaling is not None:
        chains["Scaling"] = (check_metrics,)
    if world.mdep is not None and world.mdep.spec.ingress is not None:
        chains["Ingress"] = (*_INGRESS_CHECKS, check_way_in)
    found = {kind: _first(chain, world) for kind, chain in chains.items()}
    progress = _first(_PROGRESS_CHECKS, world)
    conditions = [_condition(world, now, kind, problem) for kind, problem in found.items()]
    return [*conditions, *_kstatus(world, now, found["Ready"], progress), _progressing(world, now, progress)]


_INGRESS_CHECKS: tuple[Check, ...] = (check_ingress_class, check_ingress_rules)
_PROGRESS_CHECKS: tuple[Check, ...] = (check_spec, check_pods_applied, check_paused, check_no_surge, check_rollout)


def _ready_chain(world: World) -> tuple[Check, ...]:
    """Returns the checks of Ready.

    One ready pod answers requests, whatever the others do, unless the model now asked for cannot be fetched.
    """
    if ready_and_wanted(world)[0] > 0:
        return (check_spec, check_names, check_fetch, *_INGRESS_CHECKS, check_way_in)
    first = (check_spec, check_names, check_what_serves, check_storage_class)
    return (*first, *POD_CHECKS, *_INGRESS_CHECKS, check_applied, check_starting)


_STALLED_CHECKS: tuple[Check, ...] = (
    check_spec,
    check_names,
    check_applied,
    check_storage_class,
    *_INGRESS_CHECKS,
    check_rollout,
    *POD_CHECKS,
)
_PASSING = {Reason.PROGRESSING, Reason.UNSCHEDULABLE, Reason.VOLUME_NOT_MOUNTED, Reason.POD_NOT_STARTING}
"""Reasons that may go by themselves: a node comes, a volume is let go. All others need somebody."""


def _kstatus(world: World, now: datetime, ready: Finding | None, progress: Finding | None) -> list[Object]:
    """Returns what Flux and Argo CD ask for (kstatus): Stalled or Reconciling, each only while it is so."""
    halted = check_paused(world) if check_rollout(world) else None
    problems = (halted, *(check(world) for check in _STALLED_CHECKS))
    stalled = next((p for p in problems if p is not None and p.reason not in _PASSING), None)
    if stalled is not None:
        return [_transition(world, now, "Stalled", "True", stalled)]
    moving = ready or (progress if progress and progress.reason in _MOVING else None)
    return [_transition(world, now, "Reconciling", "True", moving)] if moving else []


def _check_fetched(world: World) -> Finding | None:
    if _is_zero(world):
        return Finding(Reason.SCALED_TO_ZERO, "nothing is fetched while there are no replicas")
    for pod in world.pods:
        for container in pod.get("status", {}).get("initContainerStatuses", []):
            state = container.get("state", {}).get("terminated")
            if container["name"] == "fetch" and state and state.get("exitCode") == 0:
                return None
    if any(is_ready(pod) for pod in world.pods):
        return None
    return Finding(Reason.STARTING, "the model has not been fetched yet")


_MOVING = (Reason.PROGRESSING, Reason.NO_SURGE_CAPACITY)


def _progressing(world: World, now: datetime, problem: Finding | None) -> Object:
    """Returns the condition Progressing. As with a Deployment, True means that a rollout goes on."""
    moving = problem is not None and problem.reason in _MOVING
    said = problem or Finding(Reason.COMPLETE, "every replica is up to date")
    return _transition(world, now, "Progressing", "True" if moving else "False", said)


def _condition(world: World, now: datetime, kind: str, problem: Finding | None) -> Object:
    if problem is not None:
        return _transition(world, now, kind, "False", problem)
    good = _ZERO if kind in ("Ready", "PodsReady") and _is_zero(world) else _GOOD[kind]
    return _transition(world, now, kind, "True", good)


_ZERO = Finding(Reason.SCALED_TO_ZERO, "spec.replicas is 0: nothing runs, as asked")
_GOOD = {
    "Ready": Finding(Reason.SERVING, "the model answers requests"),
    "ModelFetched": Finding(Reason.FETCHED, "the model's files are in place"),
    "PodsReady": Finding(Reason.ALL_READY, "every replica is ready"),
    "Scaling": Finding(Reason.SCALING_ACTIVE, "the HPA has its metric"),
    "Ingress": Finding(Reason.WRITTEN, "the Ingress has been written"),
}


def _transition(world: World, now: datetime, kind: str, status: str, found: Finding) -> Object:
    before: Object = next((c for c in world.before.get("conditions", []) if c["type"] == kind), {})
    since = before.get("lastTransitionTime") if before.get("status") == status else None
    return {
        "type": kind,
        "status": status,
        "reason": found.reason.value,
        "message": found.message[:1024],
        "observedGeneration": world.generation,
        "lastTransitionTime": since or timestamp(now),
    }


def timestamp(now: datetime) -> str:
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")


def _first(chain: Iterable[Check], world: World) -> Finding | None:
    return next((problem for check in chain if (problem := check(world)) is not None), None)


def _is_zero(world: World) -> bool:
    return world.mdep is not None and ready_and_wanted(world) == (0, 0)


def ready_and_wanted(world: World) -> tuple[int, int]:
    ready = sum(is_ready(pod) for pod in world.pods)
    return ready, _wanted(world, world.mdep)


def _wanted(world: World, mdep: ModelDeployment | None) -> int:
    return replicas_now(world, mdep) if mdep is not None else 1


def _names(objects: Iterable[Object]) -> str:
    names = ", ".join(sorted(str(o["metadata"]["name"]) for o in objects))
    return f"there are: {names}" if names else "there is none"
