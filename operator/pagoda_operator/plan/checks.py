"""What is wrong with a ModelDeployment besides its pods: the spec, classes, the way in, refused writes, the metric."""

from collections.abc import Collection, Iterable

from pagoda_operator.api.reasons import Reason
from pagoda_operator.kube.objects import Object
from pagoda_operator.objects.ingress import DIALECTS
from pagoda_operator.plan.ingress_class import choose_ingress_class
from pagoda_operator.plan.ingress_hosts import find_holder
from pagoda_operator.plan.ingress_rules import find_ingress_refusal
from pagoda_operator.plan.loads import STALE_LOAD_SECONDS
from pagoda_operator.plan.pods import Finding
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


def check_host(world: World) -> Finding | None:
    holder = find_holder(world)
    if holder is None or world.mdep is None or world.mdep.spec.ingress is None:
        return None
    here = holder.namespace == world.mdep.namespace
    who = f"the ModelDeployment {holder.name}" if here else "a ModelDeployment of another namespace"
    wanted = world.mdep.spec.ingress
    return Finding(
        Reason.HOST_TAKEN,
        f"{who} has the host {wanted.host} with the path {holder.path} and gets its requests, so no Ingress is written "
        "for this one: choose another spec.ingress.host" + (" or path, or delete the other" if here else " or path"),
    )


def find_unknown_controller(world: World) -> Finding | None:
    """Finds an Ingress that has been written for a controller whose annotations are not known."""
    chosen = choose_ingress_class(world)
    controller = str((chosen or {}).get("spec", {}).get("controller", ""))
    if chosen is None or controller in DIALECTS:
        return None
    return Finding(
        Reason.UNKNOWN_CONTROLLER,
        f"the Ingress has been written, without annotations of ours: the controller {controller} of the IngressClass "
        f"{chosen['metadata']['name']} is none of {', '.join(sorted(DIALECTS))}, so it may buffer streams or cut them: "
        "choose another spec.ingress.className, or turn buffering off and timeouts up by spec.ingress.annotations",
    )


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


def _names(objects: Iterable[Object]) -> str:
    names = ", ".join(sorted(str(o["metadata"]["name"]) for o in objects))
    return f"there are: {names}" if names else "there is none"
