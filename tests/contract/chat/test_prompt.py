"""The prompt of `pagoda run --chat`, driven as a person drives it: through a terminal."""

import asyncio
import fcntl
import json
import os
import pty
import struct
import sys
import termios
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from tests.doubles.loopback import serving

CTRL_C, CTRL_D, LEFT, UP = b"\x03", b"\x04", b"\x1b[D", b"\x1b[A"
PROMPT = b"you>"
KEY_SECONDS = 0.3
"""As a hand is slow: a signal in the moment between two waits of Python's own line editor is seen at the next key."""
PROGRAM = """
import asyncio, fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from pagoda_cli.local.chat import Endpoint
from pagoda_cli.local.prompt import talk
asyncio.run(talk(Endpoint(sys.argv[1], "tiny", "key-of-the-team")))
print("ended by itself", flush=True)
"""


@dataclass
class Model:
    """An endpoint whose answers the test writes, piece by piece."""

    url: str = ""
    asked: "asyncio.Queue[list[dict[str, str]]]" = field(default_factory=asyncio.Queue)
    pieces: "asyncio.Queue[str | None]" = field(default_factory=asyncio.Queue)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    keys: set[str | None] = field(default_factory=set)
    refusal: str = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.keys.add(request.headers.get("Authorization"))
        self.asked.put_nowait((await request.json())["messages"])
        if self.refusal:
            return web.json_response({"error": {"message": self.refusal}}, status=400)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        try:
            while (piece := await self.pieces.get()) is not None:
                event = {"choices": [{"delta": {"content": piece}}]}
                await response.write(f"data: {json.dumps(event)}\n\n".encode())
            await response.write(b'data: {"choices":[],"usage":{"completion_tokens":7}}\n\ndata: [DONE]\n\n')
        except asyncio.CancelledError:
            self.left.set()
            raise
        return response

    def write(self, *pieces: str | None) -> None:
        for piece in pieces:
            self.pieces.put_nowait(piece)

    async def question(self) -> list[dict[str, str]]:
        async with asyncio.timeout(20):
            return await self.asked.get()


class Terminal:
    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.seen = b""
        self.read_to = 0
        self.arrived = asyncio.Event()
        os.set_blocking(fd, False)
        asyncio.get_running_loop().add_reader(fd, self.read)

    def read(self) -> None:
        try:
            self.seen += os.read(self.fd, 4096)
        except OSError:  # the other end is closed
            asyncio.get_running_loop().remove_reader(self.fd)
        self.arrived.set()

    async def until(self, text: bytes) -> bytes:
        """What came since the last call, up to and with `text`."""
        async with asyncio.timeout(20):
            while (at := self.seen.find(text, self.read_to)) < 0:
                self.arrived.clear()
                try:
                    await self.arrived.wait()
                except asyncio.CancelledError:
                    raise AssertionError((text, self.seen)) from None
        came = self.seen[self.read_to : at + len(text)]
        self.read_to = at + len(text)
        return came

    def type(self, keys: bytes) -> None:
        os.write(self.fd, keys)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self.fd)
        os.close(self.fd)


@pytest.fixture
async def model() -> AsyncIterator[Model]:
    model = Model()
    app = web.Application()
    app.router.add_post("/v1/chat/completions", model.answer)
    async with serving(app, handler_cancellation=True, shutdown_timeout=1.0) as model.url:
        yield model


@dataclass
class Chat:
    terminal: Terminal
    process: asyncio.subprocess.Process

    async def ended(self) -> bool:
        await self.terminal.until(b"ended by itself")
        async with asyncio.timeout(20):
            return await self.process.wait() == 0


@pytest.fixture
async def chat(model: Model) -> AsyncIterator[Chat]:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 10, 60, 0, 0))
    paths = os.pathsep.join(path for path in sys.path if path.endswith(("operator", "server_image")))
    environment = os.environ | {"TERM": "xterm", "PYTHONPATH": paths, "INPUTRC": "/dev/null"}
    command = (sys.executable, "-c", PROGRAM, model.url)
    process = await asyncio.create_subprocess_exec(
        *command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True
    )
    os.close(theirs)
    terminal = Terminal(ours)
    await terminal.until(PROMPT)
    yield Chat(terminal, process)
    if process.returncode is None:
        process.kill()
        await process.wait()
    terminal.close()


async def test_answer_streams_with_its_rate_and_the_conversation_is_kept(model: Model, chat: Chat) -> None:
    chat.terminal.type(b"Hello\r")
    assert await model.question() == [{"role": "user", "content": "Hello"}]
    model.write("Good ")
    await chat.terminal.until(b"Good ")
    model.write("day!", None)
    assert b" tokens/s" in await chat.terminal.until(b"day!")
    await chat.terminal.until(b"7 tokens, ")
    await chat.terminal.until(PROMPT)
    chat.terminal.type(b"And you?\r")
    assert [message["content"] for message in await model.question()] == ["Hello", "Good day!", "And you?"]
    assert model.keys == {"Bearer key-of-the-team"}


async def test_ctrl_d_ends(model: Model, chat: Chat) -> None:
    chat.terminal.type(CTRL_D)
    assert await chat.ended()


async def test_ctrl_c_in_an_answer_stops_the_answer_only(model: Model, chat: Chat) -> None:
    chat.terminal.type(b"Count\r")
    await model.question()
    model.write("one two")
    await chat.terminal.until(b"one two")
    chat.terminal.type(CTRL_C)
    assert b"^C" not in await chat.terminal.until(b"stopped")
    async with asyncio.timeout(20):
        await model.left.wait()
    await chat.terminal.until(PROMPT)
    chat.terminal.type(b"Go on\r")
    assert [message["content"] for message in await model.question()] == ["Count", "one two", "Go on"]


async def test_ctrl_c_throws_a_typed_line_away_and_at_an_empty_prompt_ends(model: Model, chat: Chat) -> None:
    chat.terminal.type(b"not this")
    await chat.terminal.until(b"not this")
    await asyncio.sleep(KEY_SECONDS)
    chat.terminal.type(CTRL_C)
    await chat.terminal.until(PROMPT)
    await asyncio.sleep(KEY_SECONDS)
    chat.terminal.type(CTRL_C)
    assert await chat.ended()
    assert model.asked.empty()


async def test_keys_edit_the_line_and_bring_back_the_last_one(model: Model, chat: Chat) -> None:
    chat.terminal.type(b"ac" + LEFT + b"b\r")
    assert (await model.question())[-1]["content"] == "abc"
    model.write("x", None)
    await chat.terminal.until(PROMPT)
    chat.terminal.type(UP + b"d\r")
    assert (await model.question())[-1]["content"] == "abcd"
    assert b"^[[" not in chat.terminal.seen


async def test_error_is_shown_and_its_question_forgotten(model: Model, chat: Chat) -> None:
    model.refusal = "The prompt is too long."
    chat.terminal.type(b"long\r")
    await model.question()
    await chat.terminal.until(b"HTTP 400: The prompt is too long.")
    await chat.terminal.until(PROMPT)
    model.refusal = ""
    chat.terminal.type(b"short\r")
    assert [message["content"] for message in await model.question()] == ["short"]


async def test_clear_forgets_the_conversation(model: Model, chat: Chat) -> None:
    chat.terminal.type(b"one\r")
    await model.question()
    model.write("x", None)
    await chat.terminal.until(PROMPT)
    chat.terminal.type(b"/clear\r")
    await chat.terminal.until(b"forgotten")
    await chat.terminal.until(PROMPT)
    chat.terminal.type(b"two\r")
    assert [message["content"] for message in await model.question()] == ["two"]


async def test_escape_sequences_of_a_model_do_not_reach_the_terminal(model: Model, chat: Chat) -> None:
    chat.terminal.type(b"hi\r")
    await model.question()
    model.write("a\x1b]0;owned\x07b", None)
    assert b"a]0;ownedb" in await chat.terminal.until(PROMPT)


async def test_long_answer_scrolls_above_the_rate_and_gives_the_screen_back(model: Model, chat: Chat) -> None:
    chat.terminal.type(b"long\r")
    await model.question()
    model.write(*(f"line {number}\n" for number in range(30)), None)
    came = await chat.terminal.until(b"7 tokens, ")
    assert came.index(b"\x1b[1;9r") < came.index(b"line 29") < came.rindex(b"\x1b[r")
    assert all(came.count(b"line %d\r\n" % number) == 1 for number in range(30))
