"""Which objects a ModelDeployment is to have, in the order in which they are applied."""

from pagoda_operator.api import ModelDeployment
from pagoda_operator.kube.objects import REVISION_INPUTS, WRITTEN_REPLICAS, Object
from pagoda_operator.kube.pods import insufficient_resources, unschedulable_message
from pagoda_operator.objects.deployment import build_deployment
from pagoda_operator.objects.hpa import build_hpa
from pagoda_operator.objects.ingress import build_ingress
from pagoda_operator.objects.networkpolicy import build_networkpolicy
from pagoda_operator.objects.pdb import build_pdb
from pagoda_operator.objects.podmonitor import build_podmonitor
from pagoda_operator.objects.prometheusrule import build_prometheusrule
from pagoda_operator.objects.pvc import build_pvc
from pagoda_operator.objects.service import build_service
from pagoda_operator.objects.settings import BuildSettings
from pagoda_operator.plan.drift import amount_of
from pagoda_operator.plan.hashing import with_hash
from pagoda_operator.plan.ingress_class import choose_ingress_class
from pagoda_operator.plan.ingress_hosts import find_holder
from pagoda_operator.plan.ingress_rules import find_ingress_refusal
from pagoda_operator.plan.ownership import is_controlled_by
from pagoda_operator.plan.revision import keep_template
from pagoda_operator.plan.world import World


def plan_children(
    world: World, mdep: ModelDeployment, settings: BuildSettings, capacity: float | None
) -> tuple[Object, ...]:
    wanted = [
        build_pvc(mdep),
        build_service(mdep),
        build_networkpolicy(mdep, settings),
        plan_deployment(world, mdep, settings),
        plan_hpa(world, mdep, capacity),
        build_pdb(mdep, replicas=replicas_now(world, mdep)),
        _ingress(world, mdep),
        *_monitoring(world, mdep),
    ]
    return tuple(with_hash(obj) for obj in wanted if obj is not None)


def plan_deployment(world: World, mdep: ModelDeployment, settings: BuildSettings) -> Object:
    live = world.child("Deployment")
    replicas = _replicas_to_write(mdep, live, has_hpa=_live_hpa(world) is not None)
    deployment = build_deployment(mdep, settings, replicas=replicas, no_surge=lacks_surge_capacity(world))
    template, remembered = keep_template(world, mdep, settings)
    deployment["spec"]["template"] = template
    annotations = {REVISION_INPUTS: remembered}
    if replicas is not None:
        annotations[WRITTEN_REPLICAS] = str(replicas)
    deployment["metadata"]["annotations"] = annotations
    return deployment


def plan_hpa(world: World, mdep: ModelDeployment, capacity: float | None) -> Object | None:
    """Returns the HPA. The live one keeps its target while the capacity is unknown: a model must not stop scaling."""
    scaling, live = mdep.spec.autoscaling, _live_hpa(world)
    if capacity is None and scaling is not None and live is not None:
        held = _target_of(live)
        capacity = held / scaling.target_utilization if held else None
    return build_hpa(mdep, capacity=capacity)


def _live_hpa(world: World) -> Object | None:
    hpa = world.child("HorizontalPodAutoscaler")
    return hpa if hpa is not None and is_controlled_by(hpa, world.uid) else None


def _target_of(hpa: Object) -> float | None:
    for metric in hpa.get("spec", {}).get("metrics") or ():
        amount = amount_of((metric.get("object") or {}).get("target", {}).get("averageValue"))
        if amount:
            return float(amount)
    return None


def replicas_now(world: World, mdep: ModelDeployment) -> int:
    """Returns the number of replicas wanted now: ours, or what the HPA wrote, but never below minReplicas."""
    if mdep.spec.fixed_replicas is not None:
        return mdep.spec.fixed_replicas
    minimum = mdep.spec.autoscaling.min_replicas if mdep.spec.autoscaling else 1
    live = world.child("Deployment") or {}
    return max(minimum, int(live.get("spec", {}).get("replicas", minimum)))


def lacks_surge_capacity(world: World) -> bool:
    """Returns True while a rollout cannot place its surge pod for lack of GPUs, and until that rollout is over."""
    live = world.child("Deployment")
    if live is None or not old_pods_remain(live):
        return False
    strategy = live["spec"].get("strategy", {}).get("rollingUpdate", {})
    if strategy.get("maxSurge") in (0, "0%"):
        return True
    return any(_lacks_gpu(world.mdep, unschedulable_message(pod) or "") for pod in world.pods)


CLAIMS_LACKING = "cannot allocate all claims"
"""The scheduler's words where no device is left for a ResourceClaim."""


def _lacks_gpu(mdep: ModelDeployment | None, message: str) -> bool:
    if mdep is not None and mdep.spec.resources.claims:
        return CLAIMS_LACKING in message
    return mdep is not None and mdep.spec.resources.gpu_resource in insufficient_resources(message)


def old_pods_remain(deployment: Object) -> bool:
    status = deployment.get("status", {})
    return int(status.get("replicas", 0)) > int(status.get("updatedReplicas", 0))


def _replicas_to_write(mdep: ModelDeployment, live: Object | None, *, has_hpa: bool) -> int | None:
    """Returns the number of replicas to write; None to leave it to the HPA.

    With autoscaling it is written at creation and where there are no replicas, for the HPA leaves 0 alone, and is kept
    until the HPA writes another number. A fixed number waits until the HPA is gone: only one of us writes.

    NB: server-side apply sets a field that we owned and leave out back to its default, here to 1 replica.
    """
    replicas = (live or {}).get("spec", {}).get("replicas")
    if mdep.spec.autoscaling is not None and not replicas:
        return mdep.spec.autoscaling.min_replicas
    if live is None or (mdep.spec.autoscaling is None and not has_hpa):
        return mdep.spec.fixed_replicas
    written = (live["metadata"].get("annotations") or {}).get(WRITTEN_REPLICAS)
    return int(replicas) if replicas is not None and written == str(replicas) else None


def _ingress(world: World, mdep: ModelDeployment) -> Object | None:
    chosen = choose_ingress_class(world)
    if chosen is None or find_ingress_refusal(mdep, world.ingress_rules) or find_holder(world):
        return None
    controller = str(chosen.get("spec", {}).get("controller", ""))
    return build_ingress(mdep, class_name=str(chosen["metadata"]["name"]), controller=controller)


def _monitoring(world: World, mdep: ModelDeployment) -> list[Object | None]:
    served = {kind.rpartition("/")[2] for kind in world.kinds}
    builders = {"PodMonitor": build_podmonitor, "PrometheusRule": build_prometheusrule}
    return [build(mdep) for kind, build in builders.items() if kind in served]
