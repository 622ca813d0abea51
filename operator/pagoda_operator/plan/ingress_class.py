"""Which IngressClass serves a ModelDeployment: the one it names, else the default, else the only one."""

from pagoda_operator.kube.objects import Object
from pagoda_operator.plan.world import World

_DEFAULT = "ingressclass.kubernetes.io/is-default-class"


def choose_ingress_class(world: World) -> Object | None:
    if world.mdep is None or world.mdep.spec.ingress is None:
        return None
    classes = sorted(world.ingress_classes, key=lambda c: str(c["metadata"]["name"]))
    wanted = world.mdep.spec.ingress.class_name
    if wanted is not None:
        return next((c for c in classes if c["metadata"]["name"] == wanted), None)
    default = [c for c in classes if c["metadata"].get("annotations", {}).get(_DEFAULT) == "true"]
    if default:
        return default[0]
    return classes[0] if len(classes) == 1 else None
