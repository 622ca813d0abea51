"""Gateways that share a folder of batches, one model server behind them, OpenAI's own client, a bucket of S3."""

import asyncio
import json
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI

from pagoda_gateway.settings import Address, Settings
from pagoda_gateway.sidecar import Sidecar
from tests.doubles.model_server import LOAD, Call, FakeModelServer

PROGRAM = Path(__file__).parent / "program"
"""gofakes3, which keeps a bucket in memory and knows conditions on a PUT."""
Reply = Callable[[Call], Awaitable[None]]


def build_completion(text: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    usage = {
        "prompt_tokens": 3,
        "completion_tokens": 2,
        "total_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 1},
    }
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}


@dataclass
class Model:
    """The model server, which answers every call by `reply`."""

    server: FakeModelServer
    asked: list[str] = field(default_factory=list)
    """What each call's first message said."""
    tenants: set[str] = field(default_factory=set)
    reply: Reply | None = None

    async def serve(self) -> None:
        async with asyncio.TaskGroup() as group:
            while True:
                group.create_task(self._answer(await self.server.calls.get()))

    async def _answer(self, call: Call) -> None:
        if call.method == "GET":
            await call.answer(status=405 if call.target == "/v1/embeddings" else 404)
            return
        self.tenants.add(call.headers["x-pagoda-tenant"])
        body = json.loads(call.body)
        self.asked.append(body["messages"][0]["content"])
        with suppress(ConnectionError):
            if self.reply is not None:
                await self.reply(call)
            else:
                await call.answer(json.dumps(build_completion(self.asked[-1].upper()), indent=1).encode())


@pytest.fixture
async def model(tmp_path: Path) -> AsyncIterator[Model]:
    server = FakeModelServer(tmp_path / "s.sock")
    server.load = {**LOAD, "max_num_seqs": 64, "tokens_per_second": 10.0, "capacity_tokens_per_second": 1000.0}
    await server.start()
    model = Model(server)
    serving = asyncio.get_running_loop().create_task(model.serve())
    yield model
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    await server.stop()


@dataclass
class Gateway:
    sidecar: Sidecar
    client: AsyncOpenAI

    def client_of(self, key: str) -> AsyncOpenAI:
        return self.client.with_options(api_key=key)


Start = Callable[..., Awaitable[Gateway]]


@pytest.fixture
async def start(model: Model, tmp_path: Path) -> AsyncIterator[Start]:
    async with AsyncExitStack() as stack:

        async def start_gateway(*, clock: Callable[[], float] = time.monotonic, **changes: Any) -> Gateway:
            values: dict[str, Any] = {
                "listen": Address("127.0.0.1", 0),
                "admin": Address("127.0.0.1", 0),
                "upstream": model.server.socket,
                "model_name": "m",
                "namespace": "ns",
                "model_deployment": "md",
                "max_queued": 100,
                "max_queued_tokens": 100_000,
                "max_wait_seconds": 30.0,
                "backlog_drain_seconds": 10.0,
                "drain_grace_seconds": 0.0,
                "poll_seconds": 0.02,
                "batch_store": str(tmp_path / "batch"),
            }
            sidecar = Sidecar(Settings(**{**values, **changes}), clock=clock)
            await sidecar.start()
            stack.push_async_callback(sidecar.stop)
            url = f"http://127.0.0.1:{sidecar.port}/v1"
            client = await stack.enter_async_context(AsyncOpenAI(base_url=url, api_key="key-of-one", max_retries=0))
            return Gateway(sidecar, client)

        yield start_gateway


def build_input(count: int, *, endpoint: str = "/v1/chat/completions", **changes: Any) -> bytes:
    lines = []
    for number in range(count):
        body = {"model": "m", "messages": [{"role": "user", "content": f"say {number}"}]}
        lines.append({"custom_id": f"r{number}", "method": "POST", "url": endpoint, "body": body} | changes)
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


@pytest.fixture(scope="session")
def s3_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Builds the server once and runs it."""
    pytest.importorskip("obstore")
    if shutil.which("go") is None:
        pytest.skip("the S3 server is a Go program, and there is no go")
    binary = tmp_path_factory.mktemp("s3") / "s3"
    environment = {**os.environ, "CGO_ENABLED": "0"}
    built = subprocess.run(
        ["go", "build", "-o", str(binary), "."], cwd=PROGRAM, env=environment, capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    with subprocess.Popen([binary], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
        server.communicate()
