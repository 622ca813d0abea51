"""A client that sends any bytes it likes, and reads answers as HTTP/1.1 says."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

STREAM = b'{"stream": true}'


def post_head(*lines: str, version: str = "1.1", target: str = "/v1/completions") -> bytes:
    head = [f"POST {target} HTTP/{version}", "Host: localhost", "Content-Type: application/json", *lines]
    return "\r\n".join([*head, "", ""]).encode()


def post(body: bytes = b"{}", **kind: Any) -> bytes:
    return post_head(f"Content-Length: {len(body)}", **kind) + body


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> dict[str, Any]:
        assert self.headers["content-type"].startswith("application/json")
        error: dict[str, Any] = json.loads(self.body)["error"]
        assert set(error) == {"message", "type", "param", "code"}
        return error

    @property
    def code(self) -> str:
        return str(self.error["code"])


@dataclass
class RawClient:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def stop_reading(self) -> None:
        cast(asyncio.ReadTransport, self.writer.transport).pause_reading()

    async def head(self) -> bytes:
        return await self.reader.readuntil(b"\r\n\r\n")

    async def answer(self) -> Answer:
        """The next final answer, its body by its length or chunks."""
        status = 100
        while status < 200:
            first, *lines = (await self.head()).decode().strip().split("\r\n")
            status = int(first.split()[1])
        headers = {key.lower(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
        if "chunked" in headers.get("transfer-encoding", ""):
            return Answer(status, headers, await self.chunks())
        return Answer(status, headers, await self.reader.readexactly(int(headers["content-length"])))

    async def chunks(self) -> bytes:
        body = bytearray()
        while True:
            size = int(await self.reader.readline(), 16)
            body += await self.reader.readexactly(size)
            assert await self.reader.readexactly(2) == b"\r\n"
            if not size:
                return bytes(body)

    async def ended(self) -> bytes:
        """All that comes until the connection ends, however it ends."""
        rest = b""
        try:
            while piece := await self.reader.read(65536):
                rest += piece
        except ConnectionError:
            pass
        return rest


@asynccontextmanager
async def connect(port: int) -> AsyncIterator[RawClient]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield RawClient(reader, writer)
    finally:
        writer.transport.abort()
