import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import pytest
from aiohttp import web

from bench.serving.http_load import Load, Report, build_report, drive_streams
from bench.serving.interference import Interference, LongPrompts, build_load, measure_interference, measure_rounds
from bench.work.workload import build_uniform
from tests.doubles.loopback import serving

LONG = LongPrompts(tokens=500)
TOKEN = b'data: {"choices": [{"text": "x"}]}\n\n'


@dataclass
class Server:
    """Streams what it is asked for. Remembers each prompt, and how many prompts were long at once."""

    refuse_long: bool = False
    prompts: list[list[int]] = field(default_factory=list)
    most_long: int = 0
    num_long: int = 0

    async def respond(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        is_long = len(body["prompt"]) == LONG.tokens
        if is_long and self.refuse_long:
            return web.Response(status=400, text="too long")
        self.prompts.append(body["prompt"])
        self.num_long += is_long
        self.most_long = max(self.most_long, self.num_long)
        try:
            return await self.stream(request, body["max_tokens"])
        finally:
            self.num_long -= is_long

    async def stream(self, request: web.Request, num_tokens: int) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(num_tokens):
            await response.write(TOKEN)
            await asyncio.sleep(0.001)  # so that pieces arrive apart
        await response.write(b'data: {"choices": [], "usage": {"completion_tokens": %d}}\n\n' % num_tokens)
        await response.write(b"data: [DONE]\n\n")
        return response


@contextmanager
def loading(server: Server) -> Iterator[Load]:
    """In a thread, as `measure_interference` has an event loop of its own."""
    app = web.Application()
    app.router.add_post("/v1/completions", server.respond)
    loop, stop = asyncio.new_event_loop(), asyncio.Event()
    started, url = threading.Event(), ""

    async def serve() -> None:
        nonlocal url
        async with serving(app) as url:
            started.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    started.wait()
    try:
        yield replace(build_load(url, "m"), streams=3, requests=3, tokens_in=8, tokens_out=6)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


def run_here(load: Load) -> Report:
    """As `run_load`, without processes of its own."""
    prompts = build_uniform(load.requests, load.tokens_in, load.tokens_out, seed=load.seed).prompts
    return build_report(load, asyncio.run(drive_streams(load, prompts, load.streams, start_at=0.0)), 1.0)


def test_streams_run_alone_and_then_beside_one_long_prompt_at_a_time() -> None:
    server = Server()
    with loading(server) as load:
        found = measure_interference(load, LONG, run_here)
    lengths = [len(prompt) for prompt in server.prompts]
    assert lengths[:3] == [8] * 3 and lengths.count(8) == 6
    assert lengths.count(LONG.tokens) == found.long_prompts >= 1 and server.most_long == 1
    assert (found.failed, found.first_error) == (0, "")
    assert found.alone_itl_p99_ms > 0 and found.disturbed_itl_p99_ms > 0


def test_no_prompt_is_asked_twice() -> None:
    server = Server()
    with loading(server) as load:
        rounds = measure_rounds(load, LONG, 2, run_here)
    assert len(rounds) == 2
    assert len({tuple(prompt) for prompt in server.prompts}) == len(server.prompts)


def test_the_ratio_is_of_the_two_percentiles() -> None:
    found = Interference(alone_itl_p99_ms=4.0, disturbed_itl_p99_ms=7.0, long_prompts=3, failed=0, first_error="")
    assert found.ratio == 1.75


def test_streams_that_nothing_disturbed_are_no_measurement() -> None:
    with loading(Server(refuse_long=True)) as load, pytest.raises(RuntimeError, match="no long prompt.*too long"):
        measure_interference(load, LONG, run_here)


def test_answers_in_one_piece_are_no_measurement() -> None:
    def run(load: Load) -> Report:
        return replace(run_here(load), itl_p99_ms=0.0)

    with loading(Server()) as load, pytest.raises(RuntimeError, match="in one piece"):
        measure_interference(load, LONG, run)
