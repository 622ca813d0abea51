"""Where an answer's body ends, found without copying it: one scan of each buffer, from chunk size to chunk size.

Pure: bytes in, bytes out, no sockets. It must never look at what is in a body, and never call a body ended that its
framing has not ended.
"""

import re
from typing import Protocol

SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r\n")
SIZE_LINE_LIMIT_BYTES = 256


class Body(Protocol):
    """The body's state between two buffers."""

    ended: bool

    @property
    def torn(self) -> bool:
        """Returns True when what was handed on so far ends inside a chunk, so that nothing else can be put after it."""

    def feed(self, data: bytes) -> bytes:
        """Returns what to hand on for this buffer, at once. Raises ValueError when the framing makes no sense."""

    def feed_eof(self) -> None:
        """Notes that the connection was closed; `ended` says whether that was an end."""


class Plain:
    """So many bytes, or with `left` None all until the connection closes."""

    torn = False

    def __init__(self, left: int | None) -> None:
        self._left = left
        self.ended = left == 0

    def feed(self, data: bytes) -> bytes:
        if self._left is None:
            return data
        data = data[: self._left]
        self._left -= len(data)
        self.ended = not self._left
        return data

    def feed_eof(self) -> None:
        self.ended = self.ended or self._left is None


class _Chunked:
    def __init__(self) -> None:
        self.ended = False
        self._left = 0
        """Bytes to come of the chunk begun, the line end behind it included."""
        self._held = b""
        """A size line that came in part: not handed on, since it may be the last chunk's."""
        self._trailer = b""
        """The last bytes seen since the chunk of size zero; empty before that."""

    def feed_eof(self) -> None:
        """Ends a body that is whole but for its trailer too: RFC 9112, section 8."""
        self.ended = self.ended or bool(self._trailer)

    def _begin_trailer(self, data: bytes) -> None:
        self._left = 0
        self._trailer = b"\r\n"
        self._skip_trailer(data)

    def _skip_trailer(self, data: bytes) -> bytes:
        """Reads up to the trailer's empty line, or the server sees its connection closed before it had said all."""
        seen = self._trailer + data
        self.ended = b"\r\n\r\n" in seen
        self._trailer = seen[-3:]
        return b""

    def _read_size(self, data: bytes, position: int) -> tuple[int, int] | None:
        """Returns the chunk's size and where its bytes begin; None when the line is not whole and so was held back."""
        if line := SIZE_LINE.match(data, position):
            return int(line[1], 16), line.end()
        if len(data) - position > SIZE_LINE_LIMIT_BYTES or b"\n" in data[position:]:
            raise ValueError("a chunk has no size")
        self._held = data[position:]
        return None

    def _take_held(self, data: bytes) -> bytes:
        if self._held:
            data, self._held = self._held + data, b""
        return data


class KeptChunks(_Chunked):
    """Chunks handed on as they are, sizes and all, but for the last of size zero: the end is the caller's to say."""

    @property
    def torn(self) -> bool:
        return self._left > 0

    def feed(self, data: bytes) -> bytes:
        if self._trailer:
            return self._skip_trailer(data)
        data = self._take_held(data)
        position = self._left
        while position < len(data):
            if not (found := self._read_size(data, position)):
                self._left = 0
                return data[:position]
            size, begin = found
            if not size:
                self._begin_trailer(data[begin:])
                return data[:position]
            position = begin + size + 2
        self._left = position - len(data)
        return data


class StrippedChunks(_Chunked):
    """What is in the chunks, for a client that knows none (HTTP/1.0) or for a reader."""

    torn = False

    def feed(self, data: bytes) -> bytes:
        if self._trailer:
            return self._skip_trailer(data)
        data = self._take_held(data)
        pieces, position = [], 0
        while position < len(data):
            if not self._left:
                if not (found := self._read_size(data, position)):
                    break
                size, position = found
                if not size:
                    self._begin_trailer(data[position:])
                    break
                self._left = size + 2
            pieces.append(data[position : position + max(self._left - 2, 0)])
            step = min(self._left, len(data) - position)
            self._left -= step
            position += step
        return b"".join(pieces)


class WrappedInChunks:
    """A plain body for a client that was promised chunks: each buffer becomes one."""

    torn = False

    def __init__(self, plain: Plain) -> None:
        self._plain = plain
        self.ended = plain.ended

    def feed(self, data: bytes) -> bytes:
        data = self._plain.feed(data)
        self.ended = self._plain.ended
        return b"%x\r\n%b\r\n" % (len(data), data) if data else b""

    def feed_eof(self) -> None:
        self._plain.feed_eof()
        self.ended = self._plain.ended


def build_body(*, chunked: bool, length: int | None, as_chunks: bool) -> Body:
    """Returns the body's state.

    `chunked` and `length` are the server's word; `as_chunks` is what the reader expects.
    """
    if chunked:
        return KeptChunks() if as_chunks else StrippedChunks()
    return WrappedInChunks(Plain(length)) if as_chunks else Plain(length)
