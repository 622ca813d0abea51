"""An answer on its way to its client, looked at for the response that is to be kept. Pure: bytes in, one response out.

Of a stream only the event that ends it is held, of another answer its body. What is longer than it may be, or broken,
is no response: the client has it all the same.
"""

import re
from collections.abc import Callable

import msgspec

from pagoda_gateway.framing import StrippedChunks
from pagoda_gateway.upstream import BodySink, Head
from pagoda_guard.parsing import BadInput, parse_json

LAST_EVENT = re.compile(rb"(?:\A|\n)event: ?response\.(?:completed|incomplete)\r?\n")
OVERLAP_BYTES = 64
"""What is remembered of a piece, so that a line in two of them is found: more than the line has."""
EVENT_END = re.compile(rb"\r?\n\r?\n")
DATA = re.compile(rb"^data: ?([^\r\n]*)", re.MULTILINE)


class _Event(msgspec.Struct):
    response: msgspec.Raw


class Capture:
    def __init__(self, *, is_stream: bool, is_chunked: bool, limit_bytes: int, keep: Callable[[bytes], None]) -> None:
        """Takes `keep`, which is called at most once, with the response's JSON."""
        self._is_stream = is_stream
        self._chunks = StrippedChunks() if is_chunked else None
        self._limit_bytes = limit_bytes
        self._keep = keep
        self._held = bytearray()
        self._has_begun = not is_stream
        self._is_over = False

    def take(self, piece: bytes) -> None:
        """Takes bytes in the framing of the client's connection."""
        if self._is_over:
            return
        try:
            self._held += piece if self._chunks is None else self._chunks.feed(piece)
        except ValueError:
            self._give_up()
            return
        if not self._has_begun:
            self._find_begin()
        if self._has_begun and len(self._held) > self._limit_bytes:
            self._give_up()
        elif self._has_begun and self._is_stream and (end := EVENT_END.search(self._held)):
            self._read_event(bytes(self._held[: end.start()]))

    def finish(self) -> None:
        """Notes that the answer has ended as it should."""
        if not self._is_over and not self._is_stream:
            self._end(bytes(self._held))

    def _find_begin(self) -> None:
        if found := LAST_EVENT.search(self._held):
            self._has_begun = True
            del self._held[: found.end()]
        else:
            del self._held[:-OVERLAP_BYTES]

    def _read_event(self, event: bytes) -> None:
        data = b"\n".join(DATA.findall(event))
        try:
            self._end(bytes(parse_json(data, _Event, limit_bytes=self._limit_bytes).response))
        except BadInput:
            self._give_up()

    def _end(self, response: bytes) -> None:
        self._give_up()
        self._keep(response)

    def _give_up(self) -> None:
        self._is_over = True
        self._held = bytearray()


class CapturingSink:
    """A sink that hands on to another one, and shows a capture what passes."""

    def __init__(self, sink: BodySink, capture: Capture) -> None:
        self._sink = sink
        self._capture = capture
        self.as_chunks = sink.as_chunks

    def take(self, piece: bytes) -> bool:
        self._capture.take(piece)
        return self._sink.take(piece)

    async def drain(self) -> None:
        await self._sink.drain()


def is_stream(head: Head) -> bool:
    return head.get("content-type").startswith("text/event-stream")
