"""What of a spec the chart's `models.allowed` lets its author have.

Whoever may write ModelDeployments need not be allowed to make pods, to read Secrets or to open load balancers. So the
operator, which may, does it for them only with what whoever installed it has listed. Only what the author wrote is
judged here, not what a profile adds to it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from pagoda_operator.api import Spec
from pagoda_operator.api.allowed import ANY, Allowed
from pagoda_operator.api.pod import Pod


class _Named(Protocol):
    @property
    def name(self) -> str: ...


@dataclass(frozen=True, slots=True)
class _Wish:
    """A value of a field, and the list that would have to allow it."""

    field: str
    value: str
    list_name: str
    allowed: tuple[str, ...]


def find_refusal(spec: Spec, allowed: Allowed) -> str | None:
    """Returns the first thing that is not allowed, in the user's words; None when everything is."""
    return next((_explain(wish) for wish in _wishes(spec, allowed) if not _is_allowed(wish)), None)


def _wishes(spec: Spec, allowed: Allowed) -> Iterator[_Wish]:
    pod, service = spec.pod, spec.service
    single = (
        ("image.server", spec.image.server, "images", allowed.images),
        ("pod.serviceAccountName", pod.service_account_name, "serviceAccounts", allowed.service_accounts),
        ("service.type", None if service.type == "ClusterIP" else service.type, "serviceTypes", allowed.service_types),
    )
    yield from (_Wish(field, value, name, entries) for field, value, name, entries in single if value is not None)
    several: tuple[tuple[str, Iterable[str], str, tuple[str, ...]], ...] = (
        ("pod.labels", pod.labels or (), "podLabels", allowed.pod_labels),
        ("pod.annotations", pod.annotations or (), "podAnnotations", allowed.pod_annotations),
        ("service.annotations", service.annotations or (), "serviceAnnotations", allowed.service_annotations),
        ("pod.env", (variable.name for variable in pod.env or ()), "env", allowed.env),
        ("pod", _sources(pod), "sources", allowed.sources),
    )
    yield from (_Wish(field, value, name, entries) for field, values, name, entries in several for value in values)


def _sources(pod: Pod) -> Iterator[str]:
    """Returns the Secrets and ConfigMaps that variables and volumes read, as kind/name."""
    for variable in pod.env or ():
        if variable.value_from is not None:
            yield from _names(variable.value_from.secret_key_ref, variable.value_from.config_map_key_ref)
    for source in pod.env_from or ():
        yield from _names(source.secret_ref, source.config_map_ref)
    for volume in pod.volumes or ():
        if volume.secret is not None:
            yield f"secret/{volume.secret.secret_name}"
        yield from _names(None, volume.config_map)
        for part in volume.projected.sources if volume.projected else ():
            yield from _names(part.secret, part.config_map)


def _names(secret: _Named | None, config_map: _Named | None) -> Iterator[str]:
    if secret is not None:
        yield f"secret/{secret.name}"
    if config_map is not None:
        yield f"configMap/{config_map.name}"


def _is_allowed(wish: _Wish) -> bool:
    if ANY in wish.allowed or wish.value in wish.allowed:
        return True
    if wish.list_name == "images":
        return any(_is_below(wish.value, entry) for entry in wish.allowed)
    starts = (entry.removesuffix(ANY) for entry in wish.allowed if entry.endswith(ANY))
    return wish.list_name == "env" and any(wish.value.startswith(start) for start in starts)


def _is_below(image: str, entry: str) -> bool:
    """Returns whether the image begins with the entry; whole parts count, as in a path."""
    return any(image.startswith(entry.rstrip("/") + end) for end in "/:@")


def _explain(wish: _Wish) -> str:
    known = ", ".join(wish.allowed) or "none"
    return (
        f"spec.{wish.field}: {wish.value[:200]} is not allowed: remove it (models.allowed.{wish.list_name}: {known}), "
        "or ask whoever installed Pagoda to add it to the chart's values or to a profile"
    )
