"""Puts load on an OpenAI-compatible endpoint and measures each stream, from one process on this machine.

Closed loop: so many requests are under way at any time. Open loop: so many begin each second, whatever the answers do.
It is the one boundary of a request: a failure is counted, and the load goes on.
"""

import asyncio
import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

from pagoda_cli.load.measurement import Sample
from pagoda_cli.local.chat import Endpoint
from pagoda_cli.text import one_line
from pagoda_guard.tasks import begin

TEXT = (
    "the river sea of light stone and a long road where people meet to talk about work time water trees winter "
    "music old houses ships letters maps bread fire morning rain north wind glass paper engines numbers gardens"
)
WORDS = tuple(TEXT.split())
QUIET_SECONDS = 120.0
"""How long a stream may say nothing before it counts as failed."""
GRACE_SECONDS = 30.0
"""How long what runs at the end may go on before it is cut off; what is cut off counts as failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """`rate` is None for a closed loop. `requests` ends it before `seconds` do."""

    endpoint: Endpoint
    concurrency: int = 8
    rate: float | None = None
    seconds: float = 30.0
    requests: int | None = None
    prompt_words: int = 64
    answer_tokens: int = 64
    ignore_eos: bool = False
    seed: int = 1
    find_trouble: Callable[[], Exception | None] = lambda: None
    """Why the way to the endpoint is broken, where more is known of it than that a connection broke off."""


@dataclass(slots=True)
class Progress:
    """The load as it runs: what has ended, and how many requests are under way."""

    samples: list[Sample]
    running: int
    started: float


OnProgress = Callable[[Progress], None]


async def drive(load: Load, on_progress: OnProgress) -> tuple[list[Sample], float]:
    """Returns the requests and how long they took, in seconds. Ctrl-C, a cancellation, ends it with what there is."""
    progress = Progress([], 0, time.monotonic())
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=15, sock_read=QUIET_SECONDS)
    connector = aiohttp.TCPConnector(limit=0)
    key = load.endpoint.api_key
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with aiohttp.ClientSession(timeout=timeout, connector=connector, headers=headers) as session:
        shower = begin(_show(progress, on_progress))
        tasks: set[asyncio.Task[object]] = set()
        try:
            await (_drive_closed if load.rate is None else _drive_open)(load, session, progress, tasks)
        except asyncio.CancelledError:
            await _cut_off(tasks)
        finally:
            shower.cancel()
    last = max((sample.ended for sample in progress.samples if not sample.error), default=time.monotonic())
    return progress.samples, max(last - progress.started, 1e-9)


async def _show(progress: Progress, on_progress: OnProgress) -> None:
    while True:
        on_progress(progress)
        await asyncio.sleep(0.25)


async def _drive_closed(
    load: Load, session: aiohttp.ClientSession, progress: Progress, tasks: set[asyncio.Task[object]]
) -> None:
    end = progress.started + load.seconds
    left = iter(range(load.requests)) if load.requests is not None else None

    async def work(worker: int) -> None:
        chooser = random.Random(f"{load.seed}-{worker}")
        while time.monotonic() < end and (left is None or next(left, None) is not None):
            sample = await _ask(load, session, chooser, progress)
            if sample.error:
                await asyncio.sleep(0.1)  # an endpoint that refuses at once is not to be asked in a tight loop

    tasks |= {begin(work(worker)) for worker in range(load.concurrency)}
    await asyncio.wait(tasks, timeout=load.seconds + GRACE_SECONDS)
    await _cut_off(tasks)


async def _drive_open(
    load: Load, session: aiohttp.ClientSession, progress: Progress, tasks: set[asyncio.Task[object]]
) -> None:
    assert load.rate is not None
    chooser = random.Random(load.seed)
    due = progress.started
    while due < progress.started + load.seconds and (load.requests is None or len(tasks) < load.requests):
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        tasks.add(begin(_ask(load, session, random.Random(chooser.random()), progress)))
        due += chooser.expovariate(load.rate)  # requests of many people come at random
    if tasks:
        await asyncio.wait(tasks, timeout=GRACE_SECONDS)
    await _cut_off(tasks)


async def _cut_off(tasks: set[asyncio.Task[object]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _ask(load: Load, session: aiohttp.ClientSession, chooser: random.Random, progress: Progress) -> Sample:
    sample = Sample(started=time.monotonic())
    progress.running += 1
    try:
        await _stream(load, session, build_body(load, chooser), sample)
    except asyncio.CancelledError:
        sample.error = "cut off at the end"
        raise
    except Exception as error:  # the boundary: aiohttp and JSON raise many kinds
        sample.error = name_error(error, load.find_trouble())
    finally:
        sample.ended = time.monotonic()
        progress.running -= 1
        progress.samples.append(sample)
    return sample


def build_body(load: Load, chooser: random.Random) -> dict[str, Any]:
    """Returns a request with words that no cache has seen."""
    prompt = " ".join(chooser.choice(WORDS) for _ in range(load.prompt_words))
    body: dict[str, Any] = {
        "model": load.endpoint.model,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": load.answer_tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    return body | ({"ignore_eos": True} if load.ignore_eos else {})


async def _stream(load: Load, session: aiohttp.ClientSession, body: dict[str, Any], sample: Sample) -> None:
    last = sample.started
    async with session.post(f"{load.endpoint.url}/v1/chat/completions", json=body) as response:
        if response.status != 200:
            sample.error = f"HTTP {response.status}{_detail(await response.content.read(4096))}"
            return
        async for line in response.content:
            if not line.startswith(b"data:") or line[5:].strip() == b"[DONE]":
                continue
            now = time.monotonic()
            has_text, tokens, error = read_event(line[5:])
            if error:
                sample.error = error
                return
            sample.tokens = tokens if tokens is not None else sample.tokens
            if has_text:
                sample.chunks += 1
                if sample.first_token is None:
                    sample.first_token = now - sample.started
                else:
                    sample.gaps.append(now - last)
                last = now
    if sample.first_token is None:
        sample.error = "the answer was empty"


def read_event(data: bytes) -> tuple[bool, int | None, str]:
    """Returns whether an event has text, the tokens that it counts, and the error that it is."""
    event = json.loads(data)
    if not isinstance(event, dict):
        return False, None, "an event is no object"
    if "error" in event:
        return False, None, f"error in the stream{_detail(data)}"
    usage = event.get("usage")
    tokens = usage.get("completion_tokens") if isinstance(usage, dict) else None
    choices: Sequence[Any] = event.get("choices") or ()
    delta = choices[0].get("delta") if choices and isinstance(choices[0], dict) else None
    texts = [delta.get(name) for name in ("content", "reasoning_content")] if isinstance(delta, dict) else []
    return any(texts), tokens if isinstance(tokens, int) else None, ""


def _detail(raw: bytes) -> str:
    try:
        message = str(json.loads(raw)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return ""
    return f": {one_line(message)[:120]}"


def name_error(error: Exception, trouble: Exception | None = None) -> str:
    """Returns a kind of error in few words, the same for all of its kind; of a broken way its `trouble`."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"no connection: {one_line(str(error.os_error))[:80]}"
    if isinstance(error, aiohttp.ClientError) and trouble is not None:
        return f"no connection: {one_line(str(trouble))[:200]}"
    if isinstance(error, aiohttp.ClientError):
        return f"broke off: {type(error).__name__}"
    return f"not understood: {type(error).__name__}"
