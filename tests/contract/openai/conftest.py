"""The real HTTP front on loopback, with an engine that answers with fixed tokens."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from openai import AsyncOpenAI
from tokenizers import Tokenizer as RawTokenizer
from tokenizers import decoders, models, pre_tokenizers, trainers

from pagoda_server.engine.config import EngineConfig
from pagoda_server.http.app import HttpApi
from pagoda_server.http.engine_client import EngineClient
from pagoda_server.http.runner import build_runner
from pagoda_server.settings import Settings
from pagoda_server.text.tokenizer import Tokenizer, read_tokenizer
from pagoda_server.wire import (
    Abort,
    Delta,
    Deltas,
    Hello,
    Stats,
    Submit,
    TokenLogprobs,
    decode_to_engine,
    encode_frame,
    read_frame,
)

TEMPLATE = "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}\n{% endfor %}"
TEMPLATE += "{% if add_generation_prompt %}<|assistant|>{% endif %}"
STATS = Stats(True, 1, 2, 30, 100.0, 250.0, "observed", 5, 3, 10, 4, 50, 20, 60, 70)


@dataclass
class FakeEngine:
    tokenizer: Tokenizer
    answer: str = "Hello wörld 😀!"
    gate: asyncio.Event | None = None
    """Given: after the first token, wait for it."""
    fails: bool = False
    """Ends every answer with an error after its first token."""
    submitted: list[Submit] = field(default_factory=list)
    aborted: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    done: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(encode_frame(Hello(200, 8, self.tokenizer.raw.get_vocab_size(), [0], "cpu", "float32")))
        writer.write(encode_frame(STATS))
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                message = decode_to_engine(await read_frame(reader))
                if isinstance(message, Abort):
                    self.tasks[message.request_id].cancel()
                    self.aborted.put_nowait(message.request_id)
                else:
                    self.submitted.append(message)
                    self.tasks[message.request_id] = asyncio.create_task(self.run(message, writer))
        for task in self.tasks.values():
            task.cancel()
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        self.done.set()

    async def run(self, submit: Submit, writer: asyncio.StreamWriter) -> None:
        ids = [*self.tokenizer.encode(self.answer), 0]
        count = min(len(ids), submit.sampling.max_tokens)
        for at in range(count):
            if at == 1 and self.gate is not None:
                await self.gate.wait()
            last = at == count - 1
            reason = None if not last else "stop" if ids[at] == 0 else "length"
            if at == 1 and self.fails:
                writer.write(encode_frame(Deltas([Delta(submit.request_id, [], None, "error")])))
                return
            top = submit.sampling.logprobs
            scores = None if top is None else [TokenLogprobs(-0.5, [(1 + i, -0.5 - i) for i in range(top)])]
            writer.write(encode_frame(Deltas([Delta(submit.request_id, [ids[at]], scores, reason, 2)])))
            await asyncio.sleep(0)


def write_tokenizer(folder: Path) -> None:
    raw = RawTokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<eos>"], initial_alphabet=alphabet, show_progress=False
    )
    raw.train_from_iterator(["Hello world, hello there"], trainer)
    raw.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<eos>", "chat_template": TEMPLATE}))


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
    engine = FakeEngine(tokenizer)
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
