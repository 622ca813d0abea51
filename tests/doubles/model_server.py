"""A model server on a unix socket: it says of itself what a test sets, and the test answers each other request."""

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

LOAD = {
    "tokens_per_second": 100.0,
    "running": 1,
    "waiting": 0,
    "backlog_tokens": 50,
    "capacity_tokens_per_second": None,
    "capacity_source": None,
    "max_num_seqs": 7,
}


@dataclass
class Call:
    """One request as the model server saw it; the test answers it through `writer`."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    writer: asyncio.StreamWriter
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, body: bytes = b"{}", *, status: int = 200, content_type: str = "application/json") -> None:
        head = f"HTTP/1.1 {status} X\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
        await self.send(head.encode() + body)
        self.writer.close()

    async def start_stream(self) -> None:
        await self.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")

    async def chunk(self, data: bytes) -> None:
        await self.send(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    async def end_stream(self) -> None:
        await self.send(b"0\r\n\r\n")
        self.writer.close()


class FakeModelServer:
    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self.calls: asyncio.Queue[Call] = asyncio.Queue()
        self.load: object = LOAD
        self.ready_status = 200
        self.metrics_page: bytes | None = b""
        """None: it takes the question and never answers."""
        self.hangs = False
        self.verdict: tuple[int, bytes] | None = (404, b"")
        """What it says of a request before its turn; None: it takes the question and never answers."""
        self.checked: list[Call] = []
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, str(self.socket))

    async def stop(self) -> None:
        if self._server:
            self._server.close()
            self.socket.unlink(missing_ok=True)

    async def next_call(self) -> Call:
        async with asyncio.timeout(5):
            return await self.calls.get()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            raw = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            writer.close()
            return
        first, *lines = raw.decode().strip().split("\r\n")
        method, target, _ = first.split(" ")
        headers = {key.lower(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
        call = Call(method, target, headers, await reader.readexactly(int(headers.get("content-length", 0))), writer)
        if self.hangs:
            await reader.read()
        elif target == "/ready":
            await call.answer(status=self.ready_status)
        elif target == "/load":
            await call.answer(self.load if isinstance(self.load, bytes) else json.dumps(self.load).encode())
        elif target == "/metrics" and self.metrics_page is not None:
            await call.answer(self.metrics_page, content_type="text/plain")
        elif target.startswith("/check/") and self.verdict is not None:
            self.checked.append(call)
            await call.answer(self.verdict[1], status=self.verdict[0])
        else:
            await self.calls.put(call)
            with suppress(ConnectionError):
                await reader.read()
            call.gone.set()
        writer.close()
