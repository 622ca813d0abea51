"""A sidecar on loopback, a scripted model server on a unix socket behind it, and a client in front."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import uvloop

from pagoda_gateway.settings import Address, Settings
from pagoda_gateway.sidecar import Sidecar
from pagoda_gateway.tracing import Tracer
from tests.doubles.model_server import FakeModelServer

BOTH_LOOPS = {"test_connection", "test_half_close"}
"""Tests of what the two event loops do differently: the gateway runs on uvloop."""


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    factories: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    if item.path.stem in BOTH_LOOPS:
        factories["uvloop"] = uvloop.new_event_loop
    return factories


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[FakeModelServer]:
    fake = FakeModelServer(tmp_path / "s.sock")
    await fake.start()
    yield fake
    await fake.stop()


Start = Callable[..., Awaitable[Sidecar]]
TraceWith = Callable[[Settings], Tracer]


@pytest.fixture
async def start(server: FakeModelServer) -> AsyncIterator[Start]:
    async with AsyncExitStack() as stack:

        async def start_sidecar(
            *, clock: Callable[[], float] = time.monotonic, trace: TraceWith | None = None, **changes: Any
        ) -> Sidecar:
            values: dict[str, Any] = {
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
            settings = Settings(**{**values, **changes})
            sidecar = Sidecar(settings, clock=clock, tracer=trace(settings) if trace else None)
            await sidecar.start()
            stack.push_async_callback(sidecar.stop)
            return sidecar

        yield start_sidecar


@dataclass
class Client:
    session: aiohttp.ClientSession

    async def post(self, gateway: Sidecar, body: object = None, **options: Any) -> aiohttp.ClientResponse:
        url = f"http://127.0.0.1:{gateway.port}/v1/completions"
        data = body if isinstance(body, bytes) else json.dumps(body or {"max_tokens": 10}).encode()
        return await self.session.post(url, data=data, **options)

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


async def wait_until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not holds():
            await asyncio.sleep(0.005)


Until = Callable[[Callable[[], object]], Awaitable[None]]


@pytest.fixture
def until() -> Until:
    return wait_until
