import math
from dataclasses import replace

import pytest
from aiohttp import web

from bench.serving.http_load import Answer, Load, ask, build_body, build_report, drive_streams, percentile_ms
from tests.doubles.loopback import serving

LOAD = Load(url="http://unused", model="m", streams=2, requests=4, tokens_in=8, tokens_out=3)
TOKEN = b'data: {"choices": [{"text": "x"}]}\n\n'


def usage(tokens: int) -> bytes:
    return b'data: {"choices": [], "usage": {"completion_tokens": %d}}\n\ndata: [DONE]\n\n' % tokens


async def load(answer: bytes, status: int = 200) -> list[Answer]:
    async def respond(request: web.Request) -> web.Response:
        assert (await request.json())["ignore_eos"] is True
        return web.Response(body=answer, status=status, content_type="text/event-stream")

    app = web.Application()
    app.router.add_post("/v1/completions", respond)
    async with serving(app) as url:
        return await drive_streams(replace(LOAD, url=url), [[1, 2]] * LOAD.requests, LOAD.streams, start_at=0.0)


async def test_every_prompt_is_asked_once_and_its_tokens_counted() -> None:
    answers = await load(TOKEN * 3 + usage(3))
    assert [(answer.tokens, len(answer.gaps), answer.error) for answer in answers] == [(3, 2, "")] * 4


async def test_an_answer_of_the_wrong_length_is_a_failure() -> None:
    answers = await load(TOKEN * 2 + usage(2))
    assert {answer.error for answer in answers} == {"2 tokens instead of 3"}


async def test_a_refusal_is_counted_and_the_load_goes_on() -> None:
    answers = await load(b"busy", status=429)
    assert [answer.error for answer in answers] == ["429 busy"] * 4


async def test_an_unreachable_server_is_a_failure() -> None:
    import aiohttp

    async with aiohttp.ClientSession() as session:
        answer = await ask(session, "http://127.0.0.1:1", build_body(LOAD, [1]))
    assert "ClientConnectorError" in answer.error


def test_failures_are_counted_and_left_out_of_the_rate() -> None:
    good = Answer(first_token=0.5, gaps=[0.1, 0.3], tokens=30)
    report = build_report(LOAD, [good, good, Answer(tokens=99, error="500")], 2.0)
    assert (report.requests, report.failed, report.first_error) == (3, 1, "500")
    assert report.output_tokens_per_second == 30.0
    assert (report.ttft_p50_ms, report.itl_p50_ms, report.itl_p99_ms) == (500.0, 100.0, 300.0)


def test_the_longest_gap_is_told_beside_a_percentile_that_does_not_see_it() -> None:
    report = build_report(LOAD, [Answer(first_token=0.5, gaps=[*[0.1] * 200, 0.9], tokens=202)], 1.0)
    assert (report.itl_p99_ms, report.itl_max_ms) == (100.0, 900.0)


def test_a_load_without_one_answer_is_no_measurement() -> None:
    with pytest.raises(RuntimeError, match="all 1 requests"):
        build_report(LOAD, [Answer(error="refused")], 1.0)


def test_a_percentile_is_a_value_that_was_seen() -> None:
    seconds = [number / 1000 for number in range(1, 101)]
    assert percentile_ms(seconds, 50) == 50.0
    assert percentile_ms(seconds, 99) == 99.0
    assert percentile_ms([0.007], 99) == 7.0
    assert math.isnan(percentile_ms([], 50))


def test_more_fields_stand_in_every_body() -> None:
    body = build_body(replace(LOAD, body={"top_p": 0.5, "temperature": 0}), [1])
    assert (body["top_p"], body["temperature"], body["ignore_eos"]) == (0.5, 0, True)


async def test_where_any_length_counts_a_short_answer_is_none_that_failed() -> None:
    async def respond(request: web.Request) -> web.Response:
        return web.Response(body=TOKEN * 2 + usage(2), content_type="text/event-stream")

    app = web.Application()
    app.router.add_post("/v1/completions", respond)
    async with serving(app) as url:
        load = replace(LOAD, url=url, any_length=True)
        answers = await drive_streams(load, [[1, 2]] * load.requests, load.streams, start_at=0.0)
    assert [(answer.tokens, answer.error) for answer in answers] == [(2, "")] * 4
