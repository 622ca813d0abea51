"""The real HTTP front on loopback, with an engine that answers with fixed tokens."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from openai import AsyncOpenAI

from pagoda_server.engine.config import EngineConfig
from pagoda_server.http.app import HttpApi
from pagoda_server.http.engine_client import EngineClient
from pagoda_server.http.runner import build_runner
from pagoda_server.settings import Settings
from pagoda_server.text.tokenizer import read_tokenizer
from pagoda_server.wire import Hello
from tests.doubles.engine import END, FakeEngine
from tests.doubles.tiny_models import write_tokenizer


@dataclass
class Stack:
    url: str
    engine: FakeEngine
    api: HttpApi
    client: AsyncOpenAI

    async def idle(self) -> None:
        """No request is in a handler."""
        async with asyncio.timeout(10):
            while self.api.in_flight:
                await asyncio.sleep(0)


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    write_tokenizer(tmp_path)
    tokenizer = read_tokenizer(tmp_path)
    hello = Hello(200, 8, tokenizer.raw.get_vocab_size(), [END], "cpu", "float32")
    engine = FakeEngine(tokenizer.encode, hello)
    path = tmp_path / "e.sock"
    listener = await asyncio.start_unix_server(engine.handle, str(path))
    settings = Settings(
        engine=EngineConfig(model=tmp_path, socket=path),
        served_model_name="tiny",
        namespace="ns",
        model_deployment="chat",
        max_body_bytes=100_000,
    )
    api = HttpApi(settings, tokenizer)
    api.engine = await EngineClient.connect(path)
    runner = build_runner(api.build_app())
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    url = f"http://127.0.0.1:{port}"
    async with AsyncOpenAI(base_url=f"{url}/v1", api_key="x", max_retries=0) as client:
        yield Stack(url, engine, api, client)
    await runner.cleanup()
    await api.engine.close()
    await engine.done.wait()
    listener.close()
    await listener.wait_closed()


Post = Callable[[str, Any], Awaitable[tuple[int, Any]]]


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def post(stack: Stack, http: aiohttp.ClientSession) -> Post:
    """A path and a body (bytes as they are, else as JSON) to the status and the answer's JSON."""

    async def send(path: str, body: Any) -> tuple[int, Any]:
        kind: dict[str, Any] = {"data": body} if isinstance(body, bytes) else {"json": body}
        async with http.post(stack.url + path, **kind) as response:
            return response.status, await response.json()

    return send
