"""What is wrong with a model that serves all the same: Ready is True, and its reason must not hide it."""

from dataclasses import replace

from pagoda_operator.api.reasons import Reason
from pagoda_operator.kube.pods import insufficient_resources, is_ready, unschedulable_message
from pagoda_operator.plan.certificate import check_certificate
from pagoda_operator.plan.checks import check_applied, check_pods_applied
from pagoda_operator.plan.children import old_pods_remain
from pagoda_operator.plan.pods import POD_CHECKS, Check, Finding, check_scheduling, first_problem
from pagoda_operator.plan.revision import split_by_revision
from pagoda_operator.plan.rollout import check_deadline, ready_and_wanted
from pagoda_operator.plan.world import World


def find_shortcoming(world: World) -> Finding | None:
    """Finds a revision that does not start beside one that serves, or else anything that ails one that serves."""
    if (refused := check_pods_applied(world)) is not None:
        said = "what was written before serves, and the change is refused"
        return Finding(Reason.ROLLOUT_FAILING, f"{said}: {_explain(refused)}")
    current, old = split_by_revision(world)
    problem = first_problem(_CHECKS, replace(world, pods=current))
    serving = sum(map(is_ready, old))
    if problem is not None and serving:
        replicas = "replica serves" if serving == 1 else "replicas serve"
        said = f"{serving} {replicas} with an older revision, and the new one fails"
        return Finding(Reason.ROLLOUT_FAILING, f"{said}: {_explain(problem)}")
    problem = problem or first_problem((*_CHECKS, check_applied, check_certificate), replace(world, pods=old))
    if problem is None:
        return None
    ready, wanted = ready_and_wanted(world)
    return Finding(Reason.DEGRADED, f"{ready} of {wanted} replicas are ready: {_explain(problem)}")


def _check_scheduling_beyond_surge(world: World) -> Finding | None:
    """Finds a pod that no node has room for, unless it waits for the GPU of a pod that it is to replace."""
    pods = tuple(pod for pod in world.pods if not _waits_for_surge(world, unschedulable_message(pod) or ""))
    return check_scheduling(replace(world, pods=pods))


def _waits_for_surge(world: World, message: str) -> bool:
    resource = world.mdep.spec.resources.gpu_resource if world.mdep else ""
    deployment = world.child("Deployment")
    return deployment is not None and old_pods_remain(deployment) and resource in insufficient_resources(message)


_CHECKS: tuple[Check, ...] = (
    *(_check_scheduling_beyond_surge if check is check_scheduling else check for check in POD_CHECKS),
    check_deadline,
)


def _explain(problem: Finding) -> str:
    step = f". {problem.reason.fix}" if problem.reason.fix else ""
    return f"{problem.reason}: {problem.message.rstrip('.')}{step}"
