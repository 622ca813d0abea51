"""What a rule is: the same sentence for the API server, in CEL, and for pydantic."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

ITEMS = "[]"
"""In a path: each item of the list."""


@dataclass(frozen=True, slots=True)
class Rule:
    """`cel` and `holds` say the same of the object at `path` (names as in Python; () is the whole resource)."""

    path: tuple[str, ...]
    cel: str
    message: str
    holds: Callable[[Any], bool]


def matches(pattern: str, text: str) -> bool:
    return re.search(pattern, text) is not None
