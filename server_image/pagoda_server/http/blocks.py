"""An answer as blocks, one behind the other: reasoning, text, calls. APIs that stream blocks write what this tells."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from pagoda_server.dialog.events import CallArguments, CallBegun, Content, Event, Reasoning
from pagoda_server.http.choice import Piece

Kind = Literal["reasoning", "text", "call"]


@dataclass(slots=True)
class Block:
    kind: Kind
    index: int
    name: str = ""
    """Of the function that is called."""
    text: str = ""
    """What it says: a call's arguments."""


@dataclass(frozen=True, slots=True)
class Begun:
    block: Block


@dataclass(frozen=True, slots=True)
class Grown:
    block: Block
    text: str


@dataclass(frozen=True, slots=True)
class Ended:
    block: Block


Change = Begun | Grown | Ended


def read_events(piece: Piece) -> Sequence[Event]:
    """Returns what a piece says, of a plain answer too."""
    if piece.events is not None:
        return piece.events
    return [Content(piece.text)] if piece.text else []


class Blocks:
    """Those of one answer. Blanks alone begin no block of text: models put them between their calls."""

    def __init__(self, *, shows_reasoning: bool = True) -> None:
        self.all: list[Block] = []
        self._shows_reasoning = shows_reasoning
        self._open: Block | None = None
        self._blanks = ""
        self._is_hidden = False

    @property
    def has_calls(self) -> bool:
        return any(block.kind == "call" for block in self.all)

    @property
    def is_past_text(self) -> bool:
        """Returns whether what is being said is no text, or shown nowhere."""
        return self._is_hidden or (self._open is not None and self._open.kind != "text")

    def push(self, events: Iterable[Event]) -> Iterator[Change]:
        for event in events:
            match event:
                case Reasoning():
                    self._is_hidden = not self._shows_reasoning
                    if self._shows_reasoning:
                        yield from self._grow("reasoning", event.text)
                case Content():
                    self._is_hidden = False
                    yield from self._write(event.text)
                case CallBegun():
                    yield from self.finish()
                    yield self._begin("call", event.name)
                case CallArguments():
                    yield from self._grow("call", event.text)

    def finish(self) -> Iterator[Change]:
        """Yields what ends the block that is open, if one is."""
        block, self._open, self._blanks = self._open, None, ""
        if block is not None:
            yield Ended(block)

    def _write(self, text: str) -> Iterator[Change]:
        is_open = self._open is not None and self._open.kind == "text"
        if not is_open and not text.strip():
            self._blanks += text
            return
        blanks, self._blanks = self._blanks, ""
        yield from self._grow("text", blanks + text)

    def _grow(self, kind: Kind, text: str) -> Iterator[Change]:
        block = self._open
        if block is None or block.kind != kind:
            yield from self.finish()
            begun = self._begin(kind)
            block = begun.block
            yield begun
        if text:
            block.text += text
            yield Grown(block, text)

    def _begin(self, kind: Kind, name: str = "") -> Begun:
        self._open = Block(kind, len(self.all), name)
        self.all.append(self._open)
        return Begun(self._open)
