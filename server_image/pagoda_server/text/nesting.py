"""JSON that a client wrote, of any shape: how large it is, and the same with each of its texts changed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pagoda_server.text.arguments import Arguments

MAX_DEPTH = 64
"""What is nested deeper is refused: templates, grammars and Python itself go down by calling themselves."""


@dataclass(frozen=True, slots=True)
class Size:
    characters: int
    """Of all texts, names of members too."""
    members: int
    """Of all objects and lists."""
    depth: int
    """0 for what is neither object nor list."""


def measure(*values: Any) -> Size:
    """Returns the size of some values together. It never calls itself, so that it takes any depth."""
    characters = members = depth = 0
    level, waiting = 0, list(values)
    while waiting:
        inner: list[Any] = []
        for one in waiting:
            if isinstance(one, str):
                characters += len(one)
            elif isinstance(one, Mapping):
                characters += len(one.text) if isinstance(one, Arguments) else 0
                characters += sum(len(name) for name in one)
                members += len(one)
                inner += one.values()
                depth = level + 1
            elif isinstance(one, list | tuple):
                members += len(one)
                inner += one
                depth = level + 1
        waiting, level = inner, level + 1
    return Size(characters, members, depth)


def change_texts(value: Any, change: Callable[[str], str]) -> Any:
    """Returns the value with each text in it changed, names of members too."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Arguments):
        return Arguments(_change_members(value, change), change(value.text))
    if isinstance(value, Mapping):
        return _change_members(value, change)
    if isinstance(value, list | tuple):
        return [change_texts(item, change) for item in value]
    return value


def _change_members(value: Mapping[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    return {change(name): change_texts(item, change) for name, item in value.items()}
