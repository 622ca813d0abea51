"""JSON pointers (RFC 6901) in schemas: where something stands, and what a reference means."""

from typing import Any
from urllib.parse import unquote


class Unresolved(ValueError):
    """Nothing is where a reference points."""


def join_pointer(place: str, step: str | int) -> str:
    return f"{place}/{str(step).replace('~', '~0').replace('/', '~1')}"


def split_pointer(pointer: str) -> list[str]:
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]


def follow(value: Any, steps: list[str]) -> Any:
    """Returns what the steps lead to. Raises `Unresolved`."""
    for step in steps:
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isdecimal() and len(step) < 10 and int(step) < len(value):
            value = value[int(step)]
        else:
            raise Unresolved(f"there is no {step[:80]!r} where it refers to; name a member of $defs")
    return value


def resolve(root: Any, reference: str) -> Any:
    """Returns what `#`, or `#/` and a pointer, refers to. Raises `Unresolved`."""
    return follow(root, split_pointer(unquote(reference[1:])))
