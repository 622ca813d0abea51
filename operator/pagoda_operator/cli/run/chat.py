"""Talk to a running endpoint: stream a chat answer, measure it, show it as it comes."""

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp

Message = dict[str, str]
OnText = Callable[[str, "Answer"], None]


class ChatError(Exception):
    """The endpoint refused or broke off; the message says what it answered."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    url: str
    model: str
    api_key: str | None


@dataclass(slots=True)
class Answer:
    """An answer as far as it has come. `tokens` counts chunks until the server says how many they were."""

    started: float
    text: str = ""
    tokens: int = 0
    first_token: float | None = None
    last_token: float | None = None

    @property
    def tokens_per_second(self) -> float:
        """Rate over the whole request, so that an answer of one token has one as well."""
        elapsed = (self.last_token or self.started) - self.started
        return self.tokens / elapsed if elapsed > 0 else 0.0

    @property
    def summary(self) -> str:
        first = f"{(self.first_token - self.started) * 1000:.0f} ms" if self.first_token is not None else "never"
        return f"{self.tokens} tokens, {self.tokens_per_second:.1f} tokens/s, first token after {first}"


async def stream_answer(endpoint: Endpoint, messages: list[Message], on_text: OnText) -> Answer:
    """Ask, call `on_text` with every piece, return the whole answer; raises ChatError."""
    answer = Answer(time.monotonic())
    async for event in _stream_events(endpoint, messages):
        if usage := event.get("usage"):
            answer.tokens = usage["completion_tokens"]
        piece = _read_piece(event)
        if piece:
            answer.last_token = time.monotonic()
            answer.first_token = answer.first_token or answer.last_token
            answer.text += piece
            answer.tokens += 0 if event.get("usage") else 1
            on_text(piece, answer)
    if answer.last_token is not None:
        answer.last_token = time.monotonic()
    return answer


def _read_piece(event: dict[str, Any]) -> str:
    choices = event.get("choices")
    if not isinstance(choices, list) or not choices:
        return ""
    return str((choices[0].get("delta") or {}).get("content") or "")


async def _stream_events(endpoint: Endpoint, messages: list[Message]) -> AsyncIterator[dict[str, Any]]:
    body = {"model": endpoint.model, "messages": messages, "stream": True, "stream_options": {"include_usage": True}}
    headers = {"Authorization": f"Bearer {endpoint.api_key}"} if endpoint.api_key else {}
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, headers=headers) as session,
            session.post(f"{endpoint.url}/v1/chat/completions", json=body) as response,
        ):
            if response.status != 200:
                raise ChatError(f"{endpoint.url}: HTTP {response.status}: {(await response.text())[:500]}")
            async for line in response.content:
                if line.startswith(b"data:") and line[5:].strip() != b"[DONE]":
                    event = json.loads(line[5:])
                    if "error" in event:
                        raise ChatError(f"{endpoint.url}: {event['error']}")
                    yield event
    except aiohttp.ClientError as error:
        raise ChatError(f"{endpoint.url}: {error}") from error


async def ask(endpoint: Endpoint, prompt: str) -> None:
    """One question; the answer on standard output as it streams."""

    def show(piece: str, _: Answer) -> None:
        print(piece, end="", flush=True)

    answer = await stream_answer(endpoint, [{"role": "user", "content": prompt}], show)
    print(f"\n\n{answer.summary}\n{endpoint.url}/v1", flush=True)


async def chat(endpoint: Endpoint) -> None:
    """A conversation at the terminal, until end of input."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console()
    console.print(f"[dim]Chatting with {endpoint.model}. Ctrl-D or Ctrl-C ends.[/dim]")
    messages: list[Message] = []
    async with _open_lines() as read_line:
        while True:
            console.print("[bold]you>[/bold] ", end="")
            line = await read_line()
            if line is None:
                return
            if not line.strip():
                continue
            messages.append({"role": "user", "content": line.strip()})
            with Live(console=console, refresh_per_second=12, vertical_overflow="visible") as live:

                def show(_: str, answer: Answer, live: Live = live) -> None:
                    live.update(Text.assemble(answer.text, "\n", (f"{answer.tokens_per_second:.1f} tokens/s", "dim")))

                try:
                    answer = await stream_answer(endpoint, messages, show)
                except ChatError as error:
                    messages.pop()
                    live.update(Text(str(error), style="red"))
                    continue
                live.update(Text.assemble(answer.text, "\n", (answer.summary, "dim")))
            messages.append({"role": "assistant", "content": answer.text})


@contextlib.asynccontextmanager
async def _open_lines() -> AsyncIterator[Callable[[], Awaitable[str | None]]]:
    """Read lines of standard input without a thread, which would hold up the end of the program while it waits."""
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[str | None] = asyncio.Queue()

    def read() -> None:
        line = sys.stdin.readline()
        lines.put_nowait(line or None)
        if not line:
            loop.remove_reader(sys.stdin)

    async def read_directly() -> str | None:
        return sys.stdin.readline() or None

    try:
        loop.add_reader(sys.stdin, read)
    except PermissionError:  # a regular file never blocks and cannot be polled
        yield read_directly
        return
    try:
        yield lines.get
    finally:
        loop.remove_reader(sys.stdin)
