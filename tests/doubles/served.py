"""The real HTTP front on loopback, with an engine that answers with fixed tokens."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
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
