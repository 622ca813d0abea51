"""Ask a running endpoint: stream a chat answer and measure it."""

import json
import os
import re
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, TextIO

import aiohttp

from pagoda_cli.local.wrap import Wrapper

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

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
        """Returns the rate over the whole request, so that an answer of one token has one as well."""
        elapsed = (self.last_token or self.started) - self.started
        return self.tokens / elapsed if elapsed > 0 else 0.0

    @property
    def summary(self) -> str:
        first = f"{(self.first_token - self.started) * 1000:.0f} ms" if self.first_token is not None else "never"
        count = "1 token" if self.tokens == 1 else f"{self.tokens} tokens"
        return f"{count}, {self.tokens_per_second:.1f} tokens/s, first token after {first}"


async def stream_answer(endpoint: Endpoint, messages: list[Message], on_text: OnText) -> Answer:
    """Asks, calls `on_text` with every piece and returns the whole answer. Raises ChatError."""
    answer = Answer(time.monotonic())
    async for event in _stream_events(endpoint, messages):
        if (tokens := _read_tokens(event)) is not None:
            answer.tokens = tokens
        piece = _read_piece(event)
        if piece:
            answer.last_token = time.monotonic()
            answer.first_token = answer.first_token or answer.last_token
            answer.text += piece
            answer.tokens += 0 if tokens is not None else 1
            on_text(piece, answer)
    if answer.last_token is not None:
        answer.last_token = time.monotonic()
    return answer


def _read_tokens(event: dict[str, Any]) -> int | None:
    usage = event.get("usage")
    tokens = usage.get("completion_tokens") if isinstance(usage, dict) else None
    return tokens if isinstance(tokens, int) else None


def _read_piece(event: dict[str, Any]) -> str:
    choices = event.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    delta = choice.get("delta") if isinstance(choice, dict) else None
    return str(delta.get("content") or "") if isinstance(delta, dict) else ""


def _read_event(data: bytes) -> dict[str, Any]:
    """Raises ChatError when it is an error, ValueError when it is no object."""
    event = json.loads(data)
    if not isinstance(event, dict):
        raise ValueError("not an object")
    if "error" in event:
        raise ChatError(_read_message(data))
    return event


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
                raise ChatError(f"HTTP {response.status}: {_read_message(await response.text())}")
            async for line in response.content:
                if line.startswith(b"data:") and line[5:].strip() != b"[DONE]":
                    yield _read_event(line[5:])
    except ValueError as error:  # also a line that is too long
        raise ChatError(f"{endpoint.url} answers with what is no event of a chat") from error
    except (aiohttp.ClientError, TimeoutError) as error:
        raise ChatError(f"{endpoint.url} broke off: {error or type(error).__name__}") from error


def _read_message(body: str | bytes) -> str:
    """Returns the message of an error in OpenAI's shape, or whatever else was answered."""
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return (body if isinstance(body, str) else body.decode(errors="replace"))[:500].strip()


def without_control(text: str) -> str:
    """Removes control characters. NB: a model may write escape sequences, and a terminal obeys them."""
    return CONTROL.sub("", text)


def open_writer(stream: TextIO) -> Callable[[str], str]:
    """Returns what makes a streamed piece fit to be written: in whole words at a terminal."""
    if not stream.isatty():
        return without_control
    wrapper = Wrapper(lambda: os.get_terminal_size(stream.fileno()).columns)
    return lambda piece: wrapper.add(without_control(piece))


async def ask(endpoint: Endpoint, prompt: str) -> None:
    """Asks one question and prints the answer as it streams."""
    wrap = open_writer(sys.stdout)

    def show(piece: str, _: Answer) -> None:
        print(wrap(piece), end="", flush=True)

    answer = await stream_answer(endpoint, [{"role": "user", "content": prompt}], show)
    print(f"\n\n{answer.summary}\n{endpoint.url}/v1", flush=True)
