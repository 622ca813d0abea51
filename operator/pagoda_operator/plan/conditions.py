"""The conditions: each is an ordered chain of named checks, and the first that finds a problem is the reason."""

from datetime import datetime

from pagoda_operator.api.reasons import Reason
from pagoda_operator.kube.objects import Object
from pagoda_operator.kube.pods import is_ready
from pagoda_operator.plan.certificate import check_certificate
from pagoda_operator.plan.checks import (
    check_applied,
    check_host,
    check_ingress_class,
    check_ingress_rules,
    check_metrics,
    check_names,
    check_pods_applied,
    check_spec,
    check_storage_class,
    check_way_in,
    check_what_serves,
    find_unknown_controller,
)
from pagoda_operator.plan.pods import POD_CHECKS, Check, Finding, check_fetch, first_problem
from pagoda_operator.plan.rollout import (
    check_no_surge,
    check_paused,
    check_rollout,
    check_starting,
    is_zero,
    ready_and_wanted,
)
from pagoda_operator.plan.shortcoming import find_shortcoming
from pagoda_operator.plan.world import World


def compute_conditions(world: World, now: datetime) -> list[Object]:
    chains: dict[str, tuple[Check, ...]] = {"Ready": _ready_chain(world)}
    chains["ModelFetched"] = (check_spec, check_storage_class, check_fetch, _check_fetched)
    chains["PodsReady"] = (check_spec, check_pods_applied, check_storage_class, *POD_CHECKS, check_starting)
    if world.mdep is not None and world.mdep.spec.autoscaling is not None:
        chains["Scaling"] = (check_metrics,)
    if world.mdep is not None and world.mdep.spec.ingress is not None:
        chains["Ingress"] = (*_INGRESS_CHECKS, check_way_in, check_certificate)
    found = {kind: first_problem(chain, world) for kind, chain in chains.items()}
    progress = first_problem(_PROGRESS_CHECKS, world)
    conditions = [_condition(world, now, kind, problem) for kind, problem in found.items()]
    return [*conditions, *_kstatus(world, now, found["Ready"], progress), _progressing(world, now, progress)]


_INGRESS_CHECKS: tuple[Check, ...] = (check_ingress_class, check_ingress_rules, check_host)
_PROGRESS_CHECKS: tuple[Check, ...] = (check_spec, check_pods_applied, check_paused, check_no_surge, check_rollout)


def _ready_chain(world: World) -> tuple[Check, ...]:
    """Returns the checks of Ready.

    One ready pod answers requests: what is wrong with the others is then the reason of a Ready that is True.
    """
    if ready_and_wanted(world)[0] > 0:
        return (check_spec, check_names, *_INGRESS_CHECKS, check_way_in)
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
    if is_zero(world):
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
    return _transition(world, now, kind, "True", _find_good(world, kind))


def _find_good(world: World, kind: str) -> Finding:
    """Returns why a condition is True, which may be no reason to be content."""
    if kind in ("Ready", "PodsReady") and is_zero(world):
        return _ZERO
    blemishes = {"Ready": find_shortcoming, "Ingress": find_unknown_controller}
    found = blemishes[kind](world) if kind in blemishes else None
    return found or _GOOD[kind]


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
