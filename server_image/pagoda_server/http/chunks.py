"""The events of one choice. A chunk differs from the one before in its text alone, so the rest is encoded once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol
from uuid import uuid4

import orjson

from pagoda_server.dialog.events import CallArguments, CallBegun, Event
from pagoda_server.http.choice import Piece
from pagoda_server.http.extras import ChunkExtras
from pagoda_server.http.shapes import Envelope
from pagoda_server.http.stream import build_event

Usage = Callable[[], dict[str, object]]
MARK = uuid4().hex
"""Stands for the text where a chunk is cut; nothing else in it can be the same."""


class Deltas(Protocol):
    """What is said of one choice whose answer is read: it may be more than text."""

    def build(self, piece: Piece) -> list[dict[str, Any]]:
        """Returns the choices of the piece's chunks."""


@dataclass(frozen=True, slots=True)
class Dialect:
    whole: Envelope
    chunk: Envelope
    build_choice: Callable[[Piece], dict[str, Any]]
    build_chunk: Callable[[Piece], dict[str, Any]]
    build_start: Callable[[int], dict[str, Any]] | None = None
    """The first chunk of each choice, if the dialect has one."""
    build_deltas: Callable[[int], Deltas] | None = None
    """For the choices of answers that are read, if the dialect has such."""
    scored: bool = False
    """Its chunks say more of a token than its text."""


class ChunkWriter:
    """`more` stands beside the choice in each chunk; what `usage` tells, if it is given, is new in each."""

    def __init__(
        self,
        dialect: Dialect,
        index: int,
        more: dict[str, Any],
        *,
        usage: Usage | None = None,
        extras: ChunkExtras | None = None,
    ) -> None:
        self._dialect = dialect
        self._index = index
        self._more = more
        self._usage = usage
        self._extras = extras
        self._frame: tuple[bytes, bytes] | None = None
        self._frames: dict[tuple[type[Event], int], list[bytes]] = {}
        self._started = False
        self._deltas = dialect.build_deltas(index) if dialect.build_deltas else None

    def write(self, piece: Piece) -> bytes:
        """Returns the piece's events; empty when it says nothing yet."""
        if self._frame is not None and piece.text and piece.is_text_alone:
            before, after = self._frame
            return b"".join((before, orjson.dumps(piece.text), after))
        start = b"" if self._started else self._start()
        if piece.events is not None and self._deltas is not None:
            return start + self._write_read(piece, piece.events, self._deltas)
        says_more = bool(piece.tokens) or (self._extras is not None and self._extras.has_news(piece))
        if piece.text or says_more or piece.finish_reason is not None:
            return start + self._wrap(self._dialect.build_chunk(piece), piece)
        return start

    def _write_read(self, piece: Piece, events: Sequence[Event], deltas: Deltas) -> bytes:
        """Returns the chunks of what the piece says; what is told beside them is told once, with the first."""
        if self._frame is not None and piece.finish_reason is None and not piece.tokens:
            return b"".join([self._write_event(event, deltas) for event in events])
        choices = deltas.build(piece)
        if not choices and self._extras is not None and self._extras.has_news(piece):
            return self._wrap(self._dialect.build_chunk(replace(piece, text="")), piece)
        return b"".join([self._wrap(choice, piece if at == 0 else None) for at, choice in enumerate(choices)])

    def _write_event(self, event: Event, deltas: Deltas) -> bytes:
        """Returns the chunk of an event. It differs from the one before of its kind in its text alone."""
        if isinstance(event, CallBegun):
            return self._write_each(event, deltas)
        kind = (type(event), event.index if isinstance(event, CallArguments) else 0)
        parts = self._frames.get(kind)
        if parts is None:
            framed = self._write_each(replace(event, text=MARK), deltas)
            parts = self._frames[kind] = framed.split(orjson.dumps(MARK))
        return orjson.dumps(event.text).join(parts)

    def _write_each(self, event: Event, deltas: Deltas) -> bytes:
        return b"".join([self._wrap(choice) for choice in deltas.build(Piece(self._index, "", events=[event]))])

    def _start(self) -> bytes:
        self._started = True
        if self._usage is None and self._extras is None and not self._dialect.scored:
            self._frame = self._build_frame()
        return self._wrap(self._dialect.build_start(self._index)) if self._dialect.build_start else b""

    def _build_frame(self) -> tuple[bytes, bytes]:
        """Returns what stands in front of and behind the text of a chunk that has only text."""
        chunk = self._wrap(self._dialect.build_chunk(Piece(self._index, MARK)))
        before, _, after = chunk.partition(orjson.dumps(MARK))
        return before, after

    def _wrap(self, choice: dict[str, Any], piece: Piece | None = None) -> bytes:
        more = self._more if self._usage is None else {**self._more, "usage": self._usage()}
        chunk = self._dialect.chunk.wrap([choice], **more)
        return build_event(chunk if self._extras is None else self._extras.add(chunk, piece))
