"""A chat whose answer goes on with its last message: the template writes that message, and its end is left open.

A mark that nobody can guess stands at the end of the message while the template is rendered; what the template writes
behind it, such as the end of the turn, is cut off. A template may so trim or rewrite the message as it likes.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


class MarkLost(Exception):
    """The template left out the end of the last message, so nothing can go on with it."""


@dataclass(frozen=True, slots=True)
class Continuation:
    """Of one request."""

    mark: str = field(default_factory=lambda: secrets.token_hex(16))

    def open(self, messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Returns the messages with the mark at the end of the last one."""
        *before, last = messages
        return [*before, {**last, "content": (last["content"] or "") + self.mark}]

    def cut(self, rendered: str) -> str:
        """Returns what was rendered up to the mark. Raises `MarkLost`."""
        text, mark, _ = rendered.rpartition(self.mark)
        if not mark or self.mark in text:
            raise MarkLost
        return text
