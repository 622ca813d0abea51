"""What an answer says, piece by piece, once the model's own notation for reasoning and tool calls is taken off."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
