"""The load measures what came and when, counts each failure by its kind, and ends."""

import asyncio
import json
from typing import Any

import pytest
from aiohttp import web

from pagoda_cli.load.drive import Load, drive, read_event
from pagoda_cli.load.measurement import Sample, compute_figures
from pagoda_cli.local.chat import Endpoint
from tests.doubles.loopback import serving

Handler = Any


def event(text: str = "", **more: Any) -> bytes:
    choices = [{"delta": {"content": text}}] if text else []
    return b"data: " + json.dumps({"choices": choices, **more}).encode() + b"\n\n"


async def stream(request: web.Request) -> web.StreamResponse:
    wanted = (await request.json())["max_tokens"]
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(wanted):
        await response.write(event("word "))
    usage = {"completion_tokens": 3 * wanted}
    await response.write(event(usage=usage) + b"data: [DONE]\n\n")
    return response


async def refuse(request: web.Request) -> web.StreamResponse:
    return web.json_response({"error": {"message": "the key is wrong"}}, status=401)


async def break_off(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(event("word ") + b'data: {"error": {"message": "out of memory"}}\n\n')
    return response


async def measure(handler: Handler, **how: Any) -> list[Sample]:
    app = web.Application()
    app.router.add_post("/v1/chat/completions", handler)
    async with serving(app) as url:
        load = Load(endpoint=Endpoint(url, "m", "k"), answer_tokens=4, **how)
        samples, seconds = await asyncio.wait_for(drive(load, lambda progress: None), 60)
    assert seconds > 0
    return samples


async def test_a_closed_loop_asks_as_often_as_it_was_told_and_counts_the_servers_tokens() -> None:
    samples = await measure(stream, concurrency=3, requests=7)
    assert [(sample.error, sample.tokens, sample.chunks, len(sample.gaps)) for sample in samples] == [
        ("", 12, 4, 3)
    ] * 7
    figures = compute_figures(samples, 2.0)
    assert (figures.output_tokens, figures.output_tokens_per_second, figures.counted_by) == (84, 42.0, "usage")


async def test_an_open_loop_begins_requests_whatever_the_answers_do() -> None:
    entered = asyncio.Event()
    count = 0

    async def hold(request: web.Request) -> web.StreamResponse:
        nonlocal count
        count += 1
        if count == 3:
            entered.set()
        await entered.wait()  # none is answered before the third has come
        return await stream(request)

    samples = await measure(hold, rate=200.0, requests=3)
    assert [sample.error for sample in samples] == ["", "", ""]


@pytest.mark.parametrize(
    ("handler", "error"),
    [(refuse, "HTTP 401: the key is wrong"), (break_off, "error in the stream: out of memory")],
)
async def test_failures_are_counted_by_their_kind(handler: Handler, error: str) -> None:
    figures = compute_figures(await measure(handler, concurrency=2, requests=4), 1.0)
    assert figures.errors == {error: 4}
    assert (figures.failed, figures.output_tokens, figures.first_token_ms.p50) == (4, 0, None)


async def close_at_once(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.close()
    return web.Response()


async def test_a_connection_that_broke_off_is_explained_by_who_made_the_way() -> None:
    trouble = ValueError("you may not create pods/portforward in chat")
    (sample,) = await measure(close_at_once, concurrency=1, requests=1, find_trouble=lambda: trouble)
    assert sample.error == f"no connection: {trouble}"
    (sample,) = await measure(close_at_once, concurrency=1, requests=1)
    assert sample.error == "broke off: ServerDisconnectedError"


async def test_no_connection_is_an_error_and_no_traceback() -> None:
    load = Load(endpoint=Endpoint("http://127.0.0.1:1", "m", None), requests=1, concurrency=1)
    (sample,), _ = await drive(load, lambda progress: None)
    assert sample.error.startswith("no connection: ")


async def test_a_cancelled_load_keeps_what_there_is() -> None:
    async def forever(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(event("word "))
        begun.set()
        await asyncio.sleep(3600)
        return response

    begun = asyncio.Event()
    app = web.Application()
    app.router.add_post("/v1/chat/completions", forever)
    async with serving(app, handler_cancellation=True, shutdown_timeout=0.1) as url:
        load = Load(endpoint=Endpoint(url, "m", None), concurrency=1)
        task = asyncio.ensure_future(drive(load, lambda progress: None))
        await begun.wait()
        task.cancel()
        (sample,), _ = await task
    assert sample.error == "cut off at the end"


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b'{"choices": [{"delta": {"role": "assistant", "content": ""}}]}', (False, None, "")),
        (b'{"choices": [{"delta": {"reasoning_content": "hm"}}]}', (True, None, "")),
        (b'{"choices": [], "usage": {"completion_tokens": 5}}', (False, 5, "")),
        (b"[]", (False, None, "an event is no object")),
    ],
)
def test_events_of_other_servers_are_understood(data: bytes, found: tuple[bool, int | None, str]) -> None:
    assert read_event(data) == found
