"""The page in a real browser, served by a real gateway, whose model server answers as the test says."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from pagoda_gateway.settings import Address, Settings
from pagoda_gateway.sidecar import Sidecar
from tests.contract.page.browser import Page, browse, find_browser
from tests.doubles.model_server import Call, FakeModelServer

MODELS = json.dumps({"object": "list", "data": [{"id": "tiny", "object": "model", "max_model_len": 2048}]}).encode()
LOCAL = Address("127.0.0.1", 0)


@pytest_asyncio.fixture(loop_scope="package", scope="package")
async def browser() -> AsyncIterator[Page]:
    program = find_browser()
    if program is None:
        pytest.skip("there is no Chromium in PATH")
    async with browse(program) as page:
        yield page


class Answer:
    """One answer of the model server, which the test writes piece by piece."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.asked: dict[str, Any] = json.loads(call.body)

    async def say(self, content: str = "", *, finish: str | None = None, **delta: Any) -> None:
        choice = {"index": 0, "delta": ({"content": content} if content else {}) | delta, "finish_reason": finish}
        await self.event({"choices": [choice]})

    async def event(self, value: object) -> None:
        await self.call.chunk(b"data: " + json.dumps(value).encode() + b"\n\n")

    async def end(self, tokens: int, finish: str = "stop") -> None:
        await self.say(finish=finish)
        await self.event({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": tokens}})
        await self.call.chunk(b"data: [DONE]\n\n")
        await self.call.end_stream()


@dataclass
class Chat:
    """A person at the page, and the model server behind it."""

    page: Page
    server: FakeModelServer
    url: str

    async def open(self) -> None:
        await self.page.open(self.url)
        await self.answer_models()
        await self.page.until_shown("#model", "tiny")

    async def answer_models(self) -> Call:
        call = await self.server.next_call()
        assert call.target == "/v1/models"
        await call.answer(MODELS)
        return call

    async def ask(self, text: str) -> Answer:
        await self.page.click("#prompt")
        await self.page.type(text)
        await self.page.press("Enter")
        return await self.begin()

    async def begin(self) -> Answer:
        """Returns the answer that the page asks for, once its stream has begun."""
        answer = Answer(await self.server.next_call())
        await answer.call.start_stream()
        return answer

    async def until_done(self) -> None:
        await self.page.until("document.querySelector('#turns > article:last-of-type')?.ariaBusy === 'false'")


Open = Callable[..., Awaitable[Chat]]


@pytest_asyncio.fixture(loop_scope="package")
async def visit(browser: Page, tmp_path: Path) -> AsyncIterator[Open]:
    """Opens the page of a gateway with these settings."""
    server = FakeModelServer(tmp_path / "s.sock")
    await server.start()
    opened: list[Sidecar] = []

    async def open_page(*, is_loaded: bool = True, **changes: Any) -> Chat:
        queue = {"max_queued": 4, "max_queued_tokens": 100_000, "max_wait_seconds": 30.0, "backlog_drain_seconds": 10.0}
        names = {"model_name": "tiny", "namespace": "ns", "model_deployment": "md"}
        places = {"listen": LOCAL, "admin": LOCAL, "upstream": server.socket, "allowed_hosts": frozenset()}
        values: dict[str, Any] = {**queue, **names, **places, "max_running": 1, "chat_page": True, **changes}
        sidecar = Sidecar(Settings(**values))
        await sidecar.start()
        opened.append(sidecar)
        await browser.open("about:blank")
        browser.errors.clear()
        browser.asked.clear()
        await browser.look()
        chat = Chat(browser, server, f"http://127.0.0.1:{sidecar.port}/")
        if is_loaded:
            await chat.open()
        return chat

    yield open_page
    await browser.open("about:blank")
    await asyncio.gather(*(sidecar.stop() for sidecar in opened))
    await server.stop()
