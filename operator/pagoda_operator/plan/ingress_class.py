"""Which IngressClass serves a ModelDeployment: the one it names, else the default, else the only one."""

from collections.abc import Iterable

from pagoda_operator.api import ModelDeployment
from pagoda_operator.kube.objects import Object
from pagoda_operator.plan.world import World

_DEFAULT = "ingressclass.kubernetes.io/is-default-class"


def choose_ingress_class(world: World) -> Object | None:
    return None if world.mdep is None else choose_class(world.mdep, world.ingress_classes)


def choose_class(mdep: ModelDeployment, offered: Iterable[Object]) -> Object | None:
    if mdep.spec.ingress is None:
        return None
    classes = sorted(offered, key=lambda c: str(c["metadata"]["name"]))
    wanted = mdep.spec.ingress.class_name
    if wanted is not None:
        return next((c for c in classes if c["metadata"]["name"] == wanted), None)
    default = [c for c in classes if c["metadata"].get("annotations", {}).get(_DEFAULT) == "true"]
    if default:
        return default[0]
    return classes[0] if len(classes) == 1 else None
