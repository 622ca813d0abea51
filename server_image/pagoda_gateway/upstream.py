"""One HTTP/1.1 exchange with the model server over its unix socket, the body handed on as it arrives.

One connection a request: closing it is how the server learns that nobody waits any more. It must never buffer a body
and never read what is in it. A protocol-to-protocol copy can replace `Exchange` without its callers knowing.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path

HEAD_LIMIT_BYTES = 64 * 1024
READ_BYTES = 64 * 1024


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


def build_request(method: str, target: str, headers: Iterable[tuple[str, str]], body: bytes) -> bytes:
    """The caller's headers must not frame the message: length and connection are said here."""
    lines = [f"{method} {target} HTTP/1.1", *(f"{key}: {value}" for key, value in headers)]
    if body or method not in ("GET", "HEAD"):
        lines.append(f"Content-Length: {len(body)}")
    lines.append("Connection: close")
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + body


def parse_head(raw: bytes) -> Head:
    first, *lines = raw.decode("utf-8", "surrogateescape").rstrip("\r\n").split("\r\n")
    parts = first.split(" ", 2)
    if len(parts) < 2 or not parts[0].startswith("HTTP/1.") or not parts[1].isdecimal():
        raise UpstreamBroken("the server did not answer in HTTP/1.1")
    pairs = (line.partition(":") for line in lines)
    return Head(status=int(parts[1]), headers=tuple((key.strip(), value.strip()) for key, _, value in pairs))


class Exchange:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: Head) -> None:
        self._reader = reader
        self._writer = writer
        self.head = head

    def close(self) -> None:
        self._writer.transport.abort()

    async def body(self) -> AsyncIterator[bytes]:
        """Pieces of the body as they come. Raises UpstreamBroken when it ends too early."""
        try:
            async for piece in self._pieces():
                yield piece
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
            raise UpstreamBroken("the server's answer ended early") from error

    def _pieces(self) -> AsyncIterator[bytes]:
        if self.head.status in (204, 304):
            return self._read_exactly(0)
        if "chunked" in self.head.get("transfer-encoding").lower():
            return self._read_chunked()
        length = self.head.get("content-length")
        return self._read_exactly(int(length)) if length else self._read_to_end()

    async def _read_exactly(self, left: int) -> AsyncIterator[bytes]:
        while left:
            piece = await self._reader.read(min(left, READ_BYTES))
            if not piece:
                raise EOFError
            left -= len(piece)
            yield piece

    async def _read_chunked(self) -> AsyncIterator[bytes]:
        while size := int((await self._reader.readuntil(b"\r\n")).split(b";")[0], 16):
            async for piece in self._read_exactly(size):
                yield piece
            if await self._reader.readexactly(2) != b"\r\n":
                raise ValueError("a chunk does not end with its line")
        while await self._reader.readuntil(b"\r\n") != b"\r\n":
            pass

    async def _read_to_end(self) -> AsyncIterator[bytes]:
        while piece := await self._reader.read(READ_BYTES):
            yield piece


async def open_exchange(socket: Path, request: bytes) -> Exchange:
    """Sends the request and waits for the head. Raises UpstreamUnreachable or UpstreamBroken."""
    try:
        reader, writer = await asyncio.open_unix_connection(str(socket), limit=HEAD_LIMIT_BYTES)
    except OSError as error:
        raise UpstreamUnreachable("the model server does not answer") from error
    try:
        return Exchange(reader, writer, await _send(reader, writer, request))
    except BaseException:
        writer.transport.abort()
        raise


async def _send(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> Head:
    try:
        writer.write(request)
        await writer.drain()
        while (head := parse_head(await reader.readuntil(b"\r\n\r\n"))).status < 200:
            pass
    except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
        raise UpstreamBroken("the model server closed before it answered") from error
    return head


async def fetch(socket: Path, path: str) -> tuple[int, bytes]:
    """A small GET, whole: for the server's own pages, not for relaying."""
    exchange = await open_exchange(socket, build_request("GET", path, [("Host", "server")], b""))
    try:
        return exchange.head.status, b"".join([piece async for piece in exchange.body()])
    finally:
        exchange.close()
