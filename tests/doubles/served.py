"""The real HTTP front on loopback, with an engine that answers with fixed tokens."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


@dataclass
class Served:
    """A front with a real engine behind it."""

    url: str
    api: HttpApi


@asynccontextmanager
async def serve_model(folder: Path, **options: Any) -> AsyncIterator[Served]:
    """Serves the model and the tokenizer of the folder on the CPU. `options`: some of the engine's."""
    from pagoda_server.process.engine import serve_engine  # NB: it imports torch

    small = {"kv_cache_bytes": 16 << 20, "page_size": 16, "measure_capacity": False}
    config = EngineConfig(model=folder, socket=folder / "e.sock", device="cpu", **{**small, **options})
    ready = asyncio.Event()
    engine = asyncio.create_task(serve_engine(config, on_ready=ready.set))
    await ready.wait()
    api = HttpApi(Settings(engine=config, served_model_name="tiny"), read_tokenizer(folder))
    api.engine = await EngineClient.connect(config.socket)
    runner = build_runner(api.build_app())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield Served(f"http://127.0.0.1:{runner.addresses[0][1]}", api)
    finally:
        await runner.cleanup()
        await api.engine.close()
        engine.cancel()
        with suppress(asyncio.CancelledError):
            await engine


@asynccontextmanager
async def serve_stack(
    folder: Path, *, max_model_len: int = 200, settings: Mapping[str, Any] | None = None
) -> AsyncIterator[Stack]:
    """Serves the tokenizer of the folder. `settings`: some of the server's."""
    tokenizer = read_tokenizer(folder)
    hello = Hello(max_model_len, 8, tokenizer.raw.get_vocab_size(), [END], "cpu", "float32")
    engine = FakeEngine(tokenizer.encode, hello)
    path = folder / "e.sock"
    listener = await asyncio.start_unix_server(engine.handle, str(path))
    told = Settings(
        engine=EngineConfig(model=folder, socket=path),
        served_model_name="tiny",
        namespace="ns",
        model_deployment="chat",
        max_body_bytes=100_000,
        **(settings or {}),
    )
    api = HttpApi(told, tokenizer)
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
