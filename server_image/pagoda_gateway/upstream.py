"""One HTTP/1.1 exchange with the model server over its unix socket, the body handed on inside the read itself.

One connection per request: closing it is how the server learns that nobody waits any more. It must never buffer a body:
when its sink has enough, the server is not read from.
"""

import asyncio
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

from pagoda_gateway.framing import Body, build_body

HEAD_LIMIT_BYTES = 64 * 1024
INTERIM_LIMIT = 8
"""Answers such as 103 before the one that counts."""
DOCUMENT_LIMIT_BYTES = 8 * 1024 * 1024


STATUS_LINE = re.compile(r"HTTP/1\.[01] ([1-5][0-9]{2})(?: |$)")
PLAIN = re.compile(r"[\t\x20-\x7e]*")
"""What may stand in a line of a head: nothing that ends it, nor what two readers read differently."""


class UpstreamUnreachable(Exception):
    """No connection: the server never saw the request."""


class UpstreamBroken(Exception):
    """The server went away or spoke nonsense in the middle of an exchange."""


@dataclass(frozen=True, slots=True)
class Head:
    status: int
    headers: tuple[tuple[str, str], ...]

    def get(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name), "")


class BodySink(Protocol):
    """Where a body goes, piece by piece."""

    @property
    def as_chunks(self) -> bool:
        """Returns True when it expects the framing of HTTP/1.1 around each piece, the last chunk left out."""

    def take(self, piece: bytes) -> bool:
        """Returns False when it has enough for now. Raises ValueError when it will take no more at all."""

    async def drain(self) -> None:
        """Returns when it can take more."""


def build_request_head(method: str, target: str, headers: Iterable[tuple[str, str]], length: int) -> bytes:
    """Returns the request's head. Raises ValueError for a line that is not plain, which would be a second request.

    The caller's headers must not frame the message: length and connection are said here.
    """
    lines = [f"{method} {target} HTTP/1.1", *(f"{key}: {value}" for key, value in headers)]
    if length or method not in ("GET", "HEAD"):
        lines.append(f"Content-Length: {length}")
    lines.append("Connection: close")
    if not all(map(PLAIN.fullmatch, lines)):
        raise ValueError("a line of the request's head is not plain ASCII")
    return "\r\n".join(lines).encode("ascii") + b"\r\n\r\n"


def parse_head(raw: bytes) -> Head:
    first, *lines = raw.decode("latin-1").rstrip("\r\n").split("\r\n")
    if not (status := STATUS_LINE.match(first)) or not all(map(PLAIN.fullmatch, lines)):
        raise UpstreamBroken("the server did not answer in HTTP/1.1")
    pairs = (line.partition(":") for line in lines)
    head = Head(status=int(status[1]), headers=tuple((key.strip(), value.strip()) for key, _, value in pairs))
    if not re.fullmatch("[0-9]{0,15}", head.get("content-length")):
        raise UpstreamBroken("the server's Content-Length is no number")
    return head


def build_answer_body(head: Head, *, as_chunks: bool) -> Body:
    if head.status in (204, 304):
        return build_body(chunked=False, length=0, as_chunks=False)
    chunked = "chunked" in head.get("transfer-encoding").lower()
    length = head.get("content-length")
    return build_body(chunked=chunked, length=int(length) if length and not chunked else None, as_chunks=as_chunks)


class Exchange(asyncio.Protocol):
    """Reads stop whenever its coroutine has something to do, so that nothing piles up behind it."""

    def __init__(self) -> None:
        self.head = Head(status=0, headers=())
        self._transport: asyncio.Transport | None = None
        self._unread = bytearray()
        self._body: Body | None = None
        self._sink: BodySink | None = None
        self._failure: Exception | None = None
        self._at_eof = False
        self._lost = False
        self._woken: asyncio.Future[None] | None = None

    @property
    def torn(self) -> bool:
        """Returns True when what was handed on so far ends inside a chunk."""
        return self._body is not None and self._body.torn

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._sink is None:
            self._unread += data
            self._wake()
        elif not self._hand_on(data):
            self._wake()

    def eof_received(self) -> None:
        self._at_eof = True

    def connection_lost(self, error: Exception | None) -> None:
        """Lets go of both connections, which would else hold each other until the garbage collector comes."""
        self._lost, self._transport, self._sink = True, None, None
        self._wake()

    def _wake(self) -> None:
        if self._transport is not None:
            self._transport.pause_reading()
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)

    def _hand_on(self, data: bytes) -> bool:
        """Returns False when the coroutine must see to it: its sink has enough, its body ended or makes no sense."""
        assert self._body is not None and self._sink is not None
        try:
            piece = self._body.feed(data)
            return (not piece or self._sink.take(piece)) and not self._body.ended
        except ValueError as error:
            self._failure = error
            return False

    async def _read_more(self) -> None:
        """Reads until the coroutine is needed again. Raises EOFError when no more can come."""
        if self._lost or self._transport is None:
            raise EOFError
        self._woken = asyncio.get_running_loop().create_future()
        self._transport.resume_reading()
        await self._woken

    async def send(self, head: bytes, body: bytes) -> None:
        """Sends the request and waits for the answer's head. Raises UpstreamBroken."""
        try:
            if self._transport is None:
                raise EOFError
            self._transport.writelines([head, body] if body else [head])
            await self._read_final_head()
        except (EOFError, ValueError) as error:
            raise UpstreamBroken("the model server closed before it answered") from error

    async def _read_final_head(self) -> None:
        for _ in range(INTERIM_LIMIT):
            self.head = parse_head(await self._read_head())
            if self.head.status >= 200:
                return
        raise ValueError("the answer does not begin")

    async def _read_head(self) -> bytes:
        while (end := self._unread.find(b"\r\n\r\n")) < 0:
            if len(self._unread) > HEAD_LIMIT_BYTES:
                raise ValueError("the head is too long")
            await self._read_more()
        raw = bytes(self._unread[: end + 4])
        del self._unread[: end + 4]
        return raw

    async def copy(self, sink: BodySink) -> None:
        """Hands the body on until it ends. Raises UpstreamBroken when that is too early."""
        self._body = body = build_answer_body(self.head, as_chunks=sink.as_chunks)
        self._sink = sink
        if self._unread and not body.ended:
            self._hand_on(bytes(self._unread))
        self._unread.clear()
        try:
            while True:
                await sink.drain()
                if self._has_ended(body):
                    return
                await self._read_more()
        except (EOFError, ValueError) as error:
            raise UpstreamBroken(str(error) or "the server's answer ended early") from error

    def _has_ended(self, body: Body) -> bool:
        if self._failure:
            raise self._failure
        if self._lost and self._at_eof:
            body.feed_eof()
        return body.ended


async def open_exchange(socket: Path, head: bytes, body: bytes = b"") -> Exchange:
    """Sends the request and waits for the head. Raises UpstreamUnreachable or UpstreamBroken."""
    try:
        _, exchange = await asyncio.get_running_loop().create_unix_connection(Exchange, str(socket))
    except OSError as error:
        raise UpstreamUnreachable("the model server does not answer") from error
    try:
        await exchange.send(head, body)
    except BaseException:
        exchange.close()
        raise
    return exchange


class Document:
    """A small answer that is kept whole, such as `/load` and `/metrics`."""

    as_chunks = False

    def __init__(self, limit_bytes: int) -> None:
        self.raw = bytearray()
        self._limit_bytes = limit_bytes

    def take(self, piece: bytes) -> bool:
        if len(self.raw) + len(piece) > self._limit_bytes:
            raise ValueError(f"the server's answer is longer than {self._limit_bytes} bytes")
        self.raw += piece
        return True

    async def drain(self) -> None:
        pass


async def read_document(exchange: Exchange, limit_bytes: int) -> bytes:
    document = Document(limit_bytes)
    await exchange.copy(document)
    return bytes(document.raw)


async def fetch(socket: Path, path: str, limit_bytes: int, *, accept: str = "*/*") -> tuple[int, bytes]:
    """Returns the status and the body of a small GET: for the server's own documents, not for relaying."""
    headers = [("Host", "server"), ("Accept", accept)]
    exchange = await open_exchange(socket, build_request_head("GET", path, headers, 0))
    try:
        return exchange.head.status, await read_document(exchange, limit_bytes)
    finally:
        exchange.close()
