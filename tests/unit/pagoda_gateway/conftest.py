"""A sidecar on loopback, a scripted model server on a unix socket behind it, and a client in front."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
import uvloop

from pagoda_gateway.settings import Address, Settings
from pagoda_gateway.sidecar import Sidecar

LOAD = {
    "tokens_per_second": 100.0,
    "running": 1,
    "waiting": 0,
    "backlog_tokens": 50,
    "capacity_tokens_per_second": None,
    "capacity_source": None,
    "max_num_seqs": 7,
}


BOTH_LOOPS = {"test_connection", "test_half_close"}
"""Tests of what the two event loops do differently: the gateway runs on uvloop."""


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    factories: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    if item.path.stem in BOTH_LOOPS:
        factories["uvloop"] = uvloop.new_event_loop
    return factories


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


class FakeServer:
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
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
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


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[FakeServer]:
    fake = FakeServer(tmp_path / "s.sock")
    await fake.start()
    yield fake
    await fake.stop()


Start = Callable[..., Awaitable[Sidecar]]


@pytest.fixture
async def start(server: FakeServer) -> AsyncIterator[Start]:
    async with AsyncExitStack() as stack:

        async def start_sidecar(*, clock: Callable[[], float] | None = None, **changes: object) -> Sidecar:
            values: dict[str, object] = {
                "listen": Address("127.0.0.1", 0),
                "admin": Address("127.0.0.1", 0),
                "upstream": server.socket,
                "model_name": "m",
                "namespace": "ns",
                "model_deployment": "md",
                "max_queued": 4,
                "max_queued_tokens": 100_000,
                "max_wait_seconds": 30.0,
                "backlog_drain_seconds": 10.0,
                "max_running": 1,
                "drain_grace_seconds": 0.0,
                "poll_seconds": 0.02,
                "shared_poll_seconds": 0.02,
                "keys_poll_seconds": 0.02,
            }
            settings = Settings(**{**values, **changes})  # type: ignore[arg-type]
            sidecar = Sidecar(settings, clock=clock) if clock else Sidecar(settings)
            await sidecar.start()
            stack.push_async_callback(sidecar.stop)
            return sidecar

        yield start_sidecar


@dataclass
class Client:
    session: aiohttp.ClientSession

    async def post(self, gateway: Sidecar, body: object = None, **options: object) -> aiohttp.ClientResponse:
        url = f"http://127.0.0.1:{gateway.port}/v1/completions"
        data = body if isinstance(body, bytes) else json.dumps(body or {"max_tokens": 10}).encode()
        return await self.session.post(url, data=data, **options)  # type: ignore[arg-type]

    async def get(self, gateway: Sidecar, path: str) -> aiohttp.ClientResponse:
        return await self.session.get(f"http://127.0.0.1:{gateway.port}{path}")

    async def drain(self, gateway: Sidecar, seconds: float) -> aiohttp.ClientResponse:
        return await self.session.post(
            f"http://127.0.0.1:{gateway.admin_port}/drain?seconds={seconds}", headers={"X-Pagoda-Admin": "1"}
        )


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    headers = {"Content-Type": "application/json"}
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10), headers=headers) as session:
        yield Client(session)


async def wait_until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not holds():
            await asyncio.sleep(0.005)


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], Awaitable[None]]:
    return wait_until
