"""What the operator saw of one ModelDeployment, frozen. Whoever observes fills it in; nobody changes it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from pydantic import ValidationError

from pagoda_operator.api import ModelDeployment, Status
from pagoda_operator.api.allowed import Allowed
from pagoda_operator.api.profile import ProfileError, Profiles
from pagoda_operator.api.reasons import Reason
from pagoda_operator.kube.objects import Object
from pagoda_operator.objects.settings import IngressRules
from pagoda_operator.plan.allowed import find_refusal
from pagoda_operator.plan.loads import Load
from pagoda_operator.plan.ownership import can_adopt


@dataclass(frozen=True, slots=True)
class Refusal:
    """A write that the API server did not take, in its own words."""

    kind: str
    name: str
    message: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}: {self.message}"


@dataclass(frozen=True, slots=True)
class Rival:
    """Another ModelDeployment that asks for the same host, and its Ingress if it has one."""

    model: Object
    ingress: Object | None = None


@dataclass(frozen=True, slots=True)
class Handshake:
    """What the ingress controller showed when it was asked for a host over TLS."""

    address: str
    names: tuple[str, ...] | None
    """The names that its certificate is for; None when it refused to serve that host."""
    expires_at: float | None = None
    """When that certificate ends, as a Unix timestamp in seconds."""


class Unasked:
    """Says that no ingress controller has been asked since this process leads: what was said before holds."""


@dataclass(frozen=True, slots=True)
class World:
    """`mdep` is None when the resource cannot be served as it is; `parse_error` says why."""

    raw: Object
    mdep: ModelDeployment | None
    parse_error: str = ""
    parse_reason: Reason = Reason.INVALID_SPEC
    authored: ModelDeployment | None = None
    """The resource as its author wrote it; `mdep` has the chart's defaults and the profile filled in."""
    children: tuple[Object, ...] = ()
    """Live objects owned by the ModelDeployment, pods apart."""
    pods: tuple[Object, ...] = ()
    ingress_classes: tuple[Object, ...] = ()
    storage_classes: tuple[Object, ...] = ()
    kinds: frozenset[str] = frozenset()
    """Kinds of other projects that the cluster serves, as group/Kind."""
    unread_kinds: frozenset[str] = frozenset()
    """Kinds that the operator may not read, so that an empty list says nothing."""
    load: Load | None = None
    """The load of all ready pods; None unless each of them told its own lately."""
    has_stale_load: bool = False
    """True while a ready pod that told its load once tells it no more."""
    events: tuple[Object, ...] = ()
    """Warnings about pods that do not start, oldest first."""
    taken: tuple[str, ...] = ()
    """Names of children that objects of someone else have, as "Kind name"."""
    refusals: tuple[Refusal, ...] = ()
    """What of the last plan could not be written."""
    before: Object = field(default_factory=dict)
    """The status as it stands; without what is not of its type."""
    ingress_rules: IngressRules = IngressRules()
    """What the chart's values let authors have in an Ingress."""
    rivals: tuple[Rival, ...] = ()
    handshake: Handshake | Unasked | None = None
    """The last one for the host of spec.ingress; None where nothing can be known of it."""
    at: datetime | None = None
    """When a plan is made of it."""

    def child(self, kind: str) -> Object | None:
        """Returns our object of that kind. NB: an object with our labels may have been made by anybody."""
        name = self.raw["metadata"]["name"]
        ours = (c for c in self.children if c.get("kind") == kind and can_adopt(c, name=name, uid=self.uid))
        return next(ours, None)

    @property
    def uid(self) -> str:
        return str(self.raw["metadata"].get("uid", ""))

    @property
    def generation(self) -> int:
        return int(self.raw["metadata"].get("generation", 0))


def world_of(
    raw: Object,
    *,
    children: Iterable[Object] = (),
    pods: Iterable[Object] = (),
    profiles: Profiles | None = None,
    allowed: Allowed | None = None,
    **seen: Any,
) -> World:
    """Returns the World; of a resource that breaks the rules too, and then it says so.

    Fields that a newer CRD has, and this program does not know, are left out.
    """
    read = _read(raw, profiles or Profiles(), allowed or Allowed())
    return World(
        raw,
        read.mdep,
        read.error,
        read.reason,
        read.authored,
        tuple(children),
        tuple(pods),
        before=_read_status(raw.get("status")),
        **seen,
    )


class _Read(NamedTuple):
    mdep: ModelDeployment | None
    authored: ModelDeployment | None
    error: str = ""
    reason: Reason = Reason.INVALID_SPEC


def _read(raw: Object, profiles: Profiles, allowed: Allowed) -> _Read:
    try:
        authored = parse_model(raw)
        if refusal := find_refusal(authored.spec, allowed):
            return _Read(None, authored, refusal, Reason.NOT_ALLOWED)
        return _Read(profiles.resolve(authored), authored)
    except ValidationError as invalid:
        return _Read(None, None, _first_errors(invalid))
    except ProfileError as error:
        return _Read(None, None, str(error))


def parse_model(raw: Object) -> ModelDeployment:
    """Returns the resource without its status. Raises ValidationError for one that breaks the rules."""
    return ModelDeployment.model_validate({**raw, "status": {}}, extra="ignore", context={"extra": "ignore"})


def _read_status(status: Any) -> Object:
    return {
        key: good for key in (status if isinstance(status, dict) else ()) for good in _read_figure(key, status[key])
    }


def _read_figure(key: str, value: Any) -> list[Any]:
    try:
        found = Status.model_validate({key: value}).model_dump(by_alias=True, exclude_unset=True)
    except ValidationError:
        return []
    return list(found.values())


def _first_errors(invalid: ValidationError) -> str:
    parts = []
    for error in invalid.errors()[:3]:
        where = ".".join(str(part) for part in error["loc"])
        text = error["msg"].removeprefix("Value error, ")
        given = f" (got {error['input']!r:.100})" if isinstance(error["input"], str | int | float) else ""
        parts.append(f"{where}: {text}{given}" if where else text)
    return "; ".join(parts)
