"""What the operator saw of one ModelDeployment, frozen. Whoever observes fills it in; nobody changes it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from pagoda_operator.api import ModelDeployment
from pagoda_operator.build.settings import IngressRules

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Load:
    """The latest figures of the ready pods: the sum of their rates, the capacity of one."""

    tokens_per_second: float
    capacity_tokens_per_second: float | None
    capacity_source: str | None
    ready_pods: int
    age_seconds: float


@dataclass(frozen=True, slots=True)
class World:
    """`mdep` is None when the resource could not be parsed; `parse_error` says why."""

    raw: Object
    mdep: ModelDeployment | None
    parse_error: str = ""
    children: tuple[Object, ...] = ()
    """Live objects owned by the ModelDeployment, pods apart."""
    pods: tuple[Object, ...] = ()
    ingress_classes: tuple[Object, ...] = ()
    storage_classes: tuple[Object, ...] = ()
    kinds: frozenset[str] = frozenset()
    """Kinds of other projects that the cluster serves, as group/Kind."""
    load: Load | None = None
    events: tuple[Object, ...] = ()
    """Warnings about pods that do not start, oldest first."""
    taken: tuple[str, ...] = ()
    """Names of children that objects of someone else have, as "Kind name"."""
    ingress_rules: IngressRules = IngressRules()
    """What the chart's values let authors have in an Ingress."""

    def child(self, kind: str) -> Object | None:
        return next((child for child in self.children if child.get("kind") == kind), None)

    @property
    def before(self) -> Object:
        """The status as it stands."""
        status: Object = self.raw.get("status") or {}
        return status

    @property
    def uid(self) -> str:
        return str(self.raw["metadata"].get("uid", ""))

    @property
    def generation(self) -> int:
        return int(self.raw["metadata"].get("generation", 0))


def world_of(raw: Object, *, children: Iterable[Object] = (), pods: Iterable[Object] = (), **seen: Any) -> World:
    """Parses the resource; a resource that breaks the rules still makes a World, which says so."""
    try:
        mdep, error = ModelDeployment.model_validate({**raw, "status": {}}), ""
    except ValidationError as invalid:
        mdep, error = None, _first_errors(invalid)
    return World(raw, mdep, error, tuple(children), tuple(pods), **seen)


def _first_errors(invalid: ValidationError) -> str:
    parts = []
    for error in invalid.errors()[:3]:
        where = ".".join(str(part) for part in error["loc"])
        text = error["msg"].removeprefix("Value error, ")
        parts.append(f"{where}: {text}" if where else text)
    return "; ".join(parts)
