"""What somebody changed of an object that we wrote: the fields we speak of, and what was added where all is ours.

Server-side apply leaves alone what another manager added to a list with keys or to a map. That is right for labels and
annotations; a selector or the environment of a container is ours as a whole.
"""

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from pagoda_operator.kube.objects import Object

Path = tuple[str | int, ...]

LIST_KEYS: dict[str, tuple[str, ...]] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "volumes": ("name",),
    "env": ("name",),
    "volumeMounts": ("mountPath",),
    "imagePullSecrets": ("name",),
    "ports": ("containerPort", "port", "protocol"),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
}
"""Lists that the API server merges by key; it replaces every other list as a whole."""
WHOLE_MAPS = {"selector", "podSelector", "matchLabels", "nodeSelector", "requests", "limits"}
CONTAINERS = {"containers", "initContainers"}
CONTAINER_LISTS = ("args", "env", "envFrom")
"""Lists of a container that are ours even where we have none."""
_FACTORS = {"m": Decimal("0.001"), "": Decimal(1), "k": Decimal(1000), "Ki": Decimal(1024)}
_FACTORS |= {unit: Decimal(1000) ** power for power, unit in enumerate("MGT", 2)}
_FACTORS |= {f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("MGT", 2)}
_QUANTITY = re.compile(r"([0-9]{1,20}(?:\.[0-9]{1,9})?)(m|k|Ki|M|Mi|G|Gi|T|Ti)?")


def project(desired: Any, live: Any, name: str = "") -> Any:
    """Returns the part of `live` that `desired` speaks of. NB: the API server drops what is empty."""
    if live is None and desired in ({}, []):
        return desired
    if isinstance(desired, dict) and isinstance(live, dict):
        return {key: project(value, live.get(key), key) for key, value in desired.items()}
    if isinstance(desired, list) and isinstance(live, list) and name in LIST_KEYS:
        wanted = {_key_of(name, item): item for item in desired}
        return [project(wanted[key], item) for item in live if (key := _key_of(name, item)) in wanted]
    if name == "ownerReferences" and isinstance(live, list):
        return [owner for owner in live if owner in desired]  # others may own it beside us
    return live


def is_same(desired: Any, seen: Any) -> bool:
    """Returns whether both are equal, or the same quantities in another form: 1000m is 1."""
    if isinstance(desired, dict) and isinstance(seen, dict):
        return desired.keys() == seen.keys() and all(is_same(value, seen[key]) for key, value in desired.items())
    if isinstance(desired, list) and isinstance(seen, list):
        return len(desired) == len(seen) and all(map(is_same, desired, seen))
    return bool(desired == seen) or _is_same_quantity(desired, seen)


def find_foreign(desired: Object, live: Object) -> list[Path]:
    """Returns the paths of what others added in places that are ours as a whole.

    The last of a list comes first, so that they can be removed in this order.
    """
    return list(_foreign(desired.get("spec"), live.get("spec"), ("spec",)))[::-1]


def _foreign(desired: Any, live: Any, path: Path) -> Iterator[Path]:
    if isinstance(desired, dict) and isinstance(live, dict):
        yield from _foreign_keys(desired, live, path)
        for key, value in desired.items():
            yield from _foreign(value, live.get(key), (*path, key))
    elif isinstance(desired, list) and isinstance(live, list) and path[-1] in LIST_KEYS:
        yield from _foreign_items(desired, live, path)


def _foreign_keys(desired: Object, live: Object, path: Path) -> Iterator[Path]:
    added = [key for key in live if key not in desired]
    if path[-1] in WHOLE_MAPS:
        yield from ((*path, key) for key in added)
    elif len(path) > 1 and path[-2] in CONTAINERS:
        yield from ((*path, key) for key in added if key in CONTAINER_LISTS)


def _foreign_items(desired: list[Any], live: list[Any], path: Path) -> Iterator[Path]:
    wanted = {_key_of(str(path[-1]), item): item for item in desired}
    for index, item in enumerate(live):
        key = _key_of(str(path[-1]), item)
        if key in wanted:
            yield from _foreign(wanted[key], item, (*path, index))
        else:
            yield (*path, index)


def _key_of(name: str, item: Any) -> tuple[str, ...]:
    given = item if isinstance(item, dict) else {}
    return tuple(str(given.get(key, "TCP" if key == "protocol" else "")) for key in LIST_KEYS[name])


def _is_same_quantity(desired: Any, seen: Any) -> bool:
    amounts = [amount_of(value) for value in (desired, seen)]
    return amounts[0] is not None and amounts[0] == amounts[1]


def amount_of(value: Any) -> Decimal | None:
    """Returns the amount of a quantity; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    found = _QUANTITY.fullmatch(str(value))
    return Decimal(found[1]) * _FACTORS[found[2] or ""] if found else None
