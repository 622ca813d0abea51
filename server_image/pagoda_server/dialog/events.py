"""What an answer says, piece by piece, once the model's own notation for reasoning and tool calls is taken off."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Protocol

from pagoda_server.dialog.turn import Tool


@dataclass(frozen=True, slots=True)
class Reasoning:
    text: str


@dataclass(frozen=True, slots=True)
class Content:
    text: str


@dataclass(frozen=True, slots=True)
class CallBegun:
    """A tool call begins; what follows of it has the same index, 0 for the first of an answer."""

    index: int
    name: str


@dataclass(frozen=True, slots=True)
class CallArguments:
    """The next characters of a call's arguments; together they are one JSON object."""

    index: int
    text: str


Event = Reasoning | Content | CallBegun | CallArguments


class AnswerParser(Protocol):
    """Reads one answer. The events, joined, are the same however the text is cut into pieces; no input raises."""

    def push(self, text: str) -> Sequence[Event]:
        """Takes more of the answer's text, special tokens included; returns what is certain by now."""

    def finish(self) -> Sequence[Event]:
        """Returns what is left when no more text comes: a call that broke off, too, so that nothing is lost."""


BuildParser = Callable[[Sequence[Tool]], AnswerParser]


def join_events(events: Iterable[Event]) -> list[Event]:
    """Returns the events, pieces of the same text joined."""
    joined: list[Event] = []
    for _, group in groupby(events, key=_find_text):
        first, *others = group
        if isinstance(first, CallBegun):
            joined += [first, *others]
        else:
            pieces = (piece.text for piece in (first, *others) if not isinstance(piece, CallBegun))
            joined.append(replace(first, text="".join(pieces)))
    return joined


def _find_text(event: Event) -> tuple[type[Event], int | None]:
    """Returns what is the same for all pieces of one text."""
    return type(event), event.index if isinstance(event, CallArguments | CallBegun) else None
