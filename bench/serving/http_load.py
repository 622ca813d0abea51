"""Closed-loop streaming load on an OpenAI-compatible /v1/completions, from several processes.

Prompts are token ids, so that every engine does the same work; the end of sequence is ignored, so that lengths are
exact, unless a field of the request (`--body`) ends answers sooner. An inter-token latency is the gap between two
chunks of one stream.
"""

import argparse
import asyncio
import json
import math
import multiprocessing
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from bench.work.workload import (
    CLOSED_TOKENS_IN,
    CLOSED_TOKENS_OUT,
    LARGEST_TOKEN_ID,
    TEMPERATURE,
    Work,
    build_uniform,
)

if TYPE_CHECKING:
    import aiohttp

START_SECONDS = 2.5
"""For the processes to import what they need before all begin at once."""
MAX_PROCESSES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    url: str
    model: str
    streams: int
    requests: int
    tokens_in: int = CLOSED_TOKENS_IN
    tokens_out: int = CLOSED_TOKENS_OUT
    seed: int = 1
    api_key: str = ""
    largest_token_id: int = LARGEST_TOKEN_ID
    body: Mapping[str, Any] = field(default_factory=dict)
    """Fields that every request has beside those of `build_body`, or in place of them."""
    any_length: bool = False
    """An answer may be shorter than `tokens_out`: what was generated counts."""


@dataclass(slots=True)
class Answer:
    """One request as its client saw it; times in seconds."""

    first_token: float | None = None
    gaps: list[float] = field(default_factory=list)
    tokens: int = 0
    error: str = ""

    def add_wait(self, seconds: float) -> None:
        """Takes the time from the request to the first token, and then the gaps between tokens."""
        if self.first_token is None:
            self.first_token = seconds
        else:
            self.gaps.append(seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    streams: int
    requests: int
    failed: int
    first_error: str
    output_tokens_per_second: float
    ttft_p50_ms: float
    ttft_p99_ms: float
    itl_p50_ms: float
    itl_p99_ms: float
    itl_max_ms: float
    """A percentile says nothing of gaps that are long and rare."""


def run_load(load: Load) -> Report:
    """Raises RuntimeError when no request succeeded."""
    work = build_uniform(
        load.requests, load.tokens_in, load.tokens_out, seed=load.seed, largest_token_id=load.largest_token_id
    )
    processes = min(MAX_PROCESSES, load.streams)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        start_at = time.time() + START_SECONDS
        parts = [pool.submit(run_part, load, work, index, processes, start_at) for index in range(processes)]
        results = [part.result() for part in parts]
    answers = [answer for part, _ in results for answer in part]
    return build_report(load, answers, max(end for _, end in results) - start_at)


def run_part(load: Load, work: Work, index: int, processes: int, start_at: float) -> tuple[list[Answer], float]:
    """Returns one process's answers, and the wall time at which its last one ended."""
    prompts = work.prompts[index::processes]
    streams = len(range(index, load.streams, processes))
    answers = asyncio.run(drive_streams(load, prompts, streams, start_at))
    return answers, time.time()


def open_session(api_key: str) -> "aiohttp.ClientSession":
    import aiohttp

    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=None)
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    return aiohttp.ClientSession(connector=connector, timeout=timeout, read_bufsize=2**20, headers=headers)


async def drive_streams(load: Load, prompts: list[list[int]], streams: int, start_at: float) -> list[Answer]:
    bodies = [build_body(load, prompt) for prompt in reversed(prompts)]
    answers: list[Answer] = []
    async with open_session(load.api_key) as session:

        async def drive() -> None:
            while bodies:
                answers.append(await ask(session, load.url, bodies.pop(), any_length=load.any_length))

        await asyncio.sleep(max(0.0, start_at - time.time()))
        await asyncio.gather(*(drive() for _ in range(streams)))
    return answers


def build_body(load: Load, prompt: list[int]) -> dict[str, Any]:
    return {
        "model": load.model,
        "prompt": prompt,
        "max_tokens": load.tokens_out,
        "temperature": TEMPERATURE,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
        **load.body,
    }


async def ask_once(load: Load, prompt: list[int]) -> Answer:
    async with open_session(load.api_key) as session:
        return await ask(session, load.url, build_body(load, prompt))


async def ask(session: "aiohttp.ClientSession", url: str, body: dict[str, Any], *, any_length: bool = False) -> Answer:
    """Returns the answer. It is the one boundary: a failure is counted, and the load goes on."""
    answer, begin = Answer(), time.perf_counter()
    try:
        async with session.post(f"{url.rstrip('/')}/v1/completions", json=body) as response:
            if response.status != 200:
                answer.error = f"{response.status} {(await response.text())[:200]}"
                return answer
            await read_stream(response.content, answer, begin)
    except Exception as error:
        answer.error = repr(error)[:200]
    if not answer.error and answer.tokens != body["max_tokens"] and not (any_length and answer.tokens):
        answer.error = f"{answer.tokens} tokens instead of {body['max_tokens']}"
    return answer


async def read_stream(content: "aiohttp.StreamReader", answer: Answer, begin: float) -> None:
    last = begin
    async for line in content:
        if not line.startswith(b"data:"):
            continue
        data = line[5:].strip()
        if data == b"[DONE]":
            return
        now = time.perf_counter()
        # Only the last chunks are parsed: at 256 streams the generator must not become what is measured.
        if b'"usage":{' in data or b'"usage": {' in data:
            answer.tokens = json.loads(data)["usage"]["completion_tokens"]
        if b'"choices":[]' in data or b'"choices": []' in data:
            continue
        answer.add_wait(now - last)
        last = now


def build_report(load: Load, answers: Sequence[Answer], seconds: float) -> Report:
    good = [answer for answer in answers if not answer.error]
    errors = [answer.error for answer in answers if answer.error]
    if not good:
        raise RuntimeError(f"all {len(errors)} requests to {load.url} failed; the first: {errors[:1]}")
    firsts = [answer.first_token for answer in good if answer.first_token is not None]
    gaps = [gap for answer in good for gap in answer.gaps]
    return Report(
        streams=load.streams,
        requests=len(answers),
        failed=len(errors),
        first_error=errors[0] if errors else "",
        output_tokens_per_second=round(sum(answer.tokens for answer in good) / seconds, 1),
        ttft_p50_ms=percentile_ms(firsts, 50),
        ttft_p99_ms=percentile_ms(firsts, 99),
        itl_p50_ms=percentile_ms(gaps, 50),
        itl_p99_ms=percentile_ms(gaps, 99),
        itl_max_ms=percentile_ms(gaps, 100),
    )


def percentile_ms(seconds: Sequence[float], percent: float) -> float:
    """Returns the smallest value that `percent` of all do not exceed; NaN for none."""
    if not seconds:
        return math.nan
    rank = max(1, math.ceil(percent / 100 * len(seconds)))
    return round(1000 * sorted(seconds)[rank - 1], 2)


def add_load_arguments(parser: argparse.ArgumentParser, *, streams: int, requests: int) -> None:
    """Adds the closed loop that a `Load` asks for, with its defaults."""
    parser.add_argument(
        "--streams", type=int, default=streams, help="requests under way at any time (default %(default)s)"
    )
    parser.add_argument("--requests", type=int, default=requests, help="in all (default %(default)s)")
    parser.add_argument("--tokens-in", type=int, default=CLOSED_TOKENS_IN, help="of a prompt (default %(default)s)")
    parser.add_argument("--tokens-out", type=int, default=CLOSED_TOKENS_OUT, help="of an answer (default %(default)s)")
    parser.add_argument(
        "--largest-token-id", type=int, default=LARGEST_TOKEN_ID, help="in the random prompts (default %(default)s)"
    )


def parse_body(text: str) -> dict[str, Any]:
    """Raises argparse.ArgumentTypeError for what is no JSON object."""
    try:
        body = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise argparse.ArgumentTypeError(f'{text!r} is no JSON object: give the likes of {{"top_p": 0.9}}')
    return body


def add_endpoint_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url")
    parser.add_argument("model")
    parser.add_argument("--api-key", default="", help="sent as a Bearer token")
    parser.add_argument("--seed", type=int, default=1)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench http-load", description=__doc__)
    add_endpoint_arguments(parser)
    add_load_arguments(parser, streams=32, requests=128)
    parser.add_argument("--body", type=parse_body, default={}, help="more fields of each request, a JSON object")
    parser.add_argument("--any-length", action="store_true", help="answers may end before --tokens-out")
    args = parser.parse_args(argv)
    print(json.dumps(asdict(run_load(Load(**vars(args))))))
    return 0
