"""Who has a host: of two ModelDeployments that ask for one host and path, one has an Ingress and the other is told.

Whoever has the Ingress keeps it, so that nobody takes a host over by an edit. Where both have one, the older Ingress
stays, which is the one that nginx sends the requests to; where none has, the older ModelDeployment gets it.
"""

from dataclasses import dataclass

from pydantic import ValidationError

from pagoda_operator.api import ModelDeployment
from pagoda_operator.api.spec import Ingress
from pagoda_operator.kube.objects import Object
from pagoda_operator.plan.ingress_class import choose_class
from pagoda_operator.plan.ingress_rules import find_ingress_refusal
from pagoda_operator.plan.ownership import is_controlled_by
from pagoda_operator.plan.world import Rival, World, parse_model

TAKES_WHOLE_HOST = {"nginx.org/ingress-controller"}
"""Controllers that give all of a host to one Ingress, whatever its path. Others give each path to one."""


@dataclass(frozen=True, slots=True)
class Holder:
    namespace: str
    name: str
    path: str


def find_holder(world: World) -> Holder | None:
    """Returns the other ModelDeployment that has the host and path which this one asks for."""
    mdep = world.mdep
    if mdep is None or mdep.spec.ingress is None or not world.rivals:
        return None
    own_rank = _rank(world.raw, mdep.spec.ingress, world.child("Ingress"))
    contenders = [(rival, parsed) for rival in world.rivals if (parsed := _contends(world, mdep, rival)) is not None]
    ranked = [(_rank(rival.model, parsed, rival.ingress), rival, parsed) for rival, parsed in contenders]
    best = min(ranked, key=lambda entry: entry[0], default=None)
    if best is None or own_rank <= best[0]:
        return None
    _, rival, wanted = best
    return Holder(rival.model["metadata"]["namespace"], rival.model["metadata"]["name"], wanted.path)


def _contends(world: World, mdep: ModelDeployment, rival: Rival) -> Ingress | None:
    """Returns what the other asks for, if it may have it, and both cannot."""
    try:
        other = parse_model(rival.model)
    except ValidationError:
        return None
    wanted, asked = mdep.spec.ingress, other.spec.ingress
    if wanted is None or asked is None or asked.host != wanted.host or rival.model["metadata"].get("deletionTimestamp"):
        return None
    ours, theirs = choose_class(mdep, world.ingress_classes), choose_class(other, world.ingress_classes)
    if ours is None or theirs is None or ours["metadata"]["name"] != theirs["metadata"]["name"]:
        return None
    whole = ours.get("spec", {}).get("controller") in TAKES_WHOLE_HOST
    same = whole or _plain(asked.path) == _plain(wanted.path)
    return asked if same and not find_ingress_refusal(other, world.ingress_rules) else None


def _rank(model: Object, wanted: Ingress, ingress: Object | None) -> tuple[bool, str, str]:
    """Returns what is least for the one that keeps the host."""
    holds = ingress is not None and _routes(ingress, wanted) and is_controlled_by(ingress, _uid(model))
    born = ingress if holds and ingress is not None else model
    return not holds, str(born["metadata"].get("creationTimestamp", "")), _uid(born)


def _routes(ingress: Object, wanted: Ingress) -> bool:
    rules = ingress.get("spec", {}).get("rules") or ()
    found = {
        (rule.get("host"), _plain(path.get("path", "")))
        for rule in rules
        for path in (rule.get("http") or {}).get("paths") or ()
    }
    return (wanted.host, _plain(wanted.path)) in found


def _plain(path: str) -> str:
    return path.rstrip("/")


def _uid(obj: Object) -> str:
    return str(obj["metadata"].get("uid", ""))
