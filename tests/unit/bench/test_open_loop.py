import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from bench.serving.http_load import Answer, Load
from bench.serving.open_loop import (
    Arrival,
    Objective,
    build_prompt,
    build_report,
    drive_arrivals,
    plan_arrivals,
    read_lengths,
)
from tests.doubles.loopback import serving

LOAD = Load(url="http://unused", model="m", streams=0, requests=0)


def test_lengths_come_from_the_trace_and_what_is_too_long_is_left_out(tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\nx,374,44\nx,9000,1\nx,0,5\n")
    assert read_lengths(trace, max_tokens=1000) == [(374, 44)]
    with pytest.raises(ValueError, match="raise --max-tokens"):
        read_lengths(trace, max_tokens=100)
    trace.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="ContextTokens"):
        read_lengths(trace, max_tokens=100)


def test_arrivals_are_the_same_for_a_seed_and_as_many_as_the_rate_says() -> None:
    plan = plan_arrivals([(8, 2)], requests_per_second=20.0, seconds=100.0, seed=1)
    assert plan == plan_arrivals([(8, 2)], requests_per_second=20.0, seconds=100.0, seed=1)
    assert 1800 < len(plan) < 2200
    assert all(one.at_seconds < other.at_seconds for one, other in zip(plan, plan[1:], strict=False))
    prompt = build_prompt(plan[0], 100)
    assert len(prompt) == 8 and set(prompt) <= set(range(2, 101))


async def test_requests_come_while_others_wait() -> None:
    waiting: list[asyncio.Event] = []

    async def answer_when_all_came(request: web.Request) -> web.Response:
        body = await request.json()
        waiting.append(asyncio.Event())
        if len(waiting) == 3:
            for event in waiting:
                event.set()
        await waiting[-1].wait() if len(waiting) < 3 else None
        tokens = body["max_tokens"]
        events = b'data: {"choices": [{"text": "x"}]}\n\n' * tokens
        usage = json.dumps({"choices": [], "usage": {"completion_tokens": tokens}}).encode()
        return web.Response(body=events + b"data: " + usage + b"\n\ndata: [DONE]\n\n")

    app = web.Application()
    app.router.add_post("/v1/completions", answer_when_all_came)
    async with serving(app) as url:
        arrivals = [Arrival(0.01 * number, 4, number + 1, seed=number) for number in range(3)]
        answers = await drive_arrivals(replace(LOAD, url=url), arrivals, start_at=0.0)
    assert [(answer.tokens, answer.error) for answer in answers] == [(1, ""), (2, ""), (3, "")]


def test_the_share_within_the_objective_counts_failures() -> None:
    fast = Answer(first_token=0.4, gaps=[0.02, 0.04], tokens=3)
    late = Answer(first_token=0.6, gaps=[0.02], tokens=2)
    slow = Answer(first_token=0.1, gaps=[0.04, 0.04], tokens=3)
    several_in_a_chunk = Answer(first_token=0.1, gaps=[0.1], tokens=6)
    answers = [fast, late, slow, several_in_a_chunk, Answer(error="503")]
    report = build_report(answers, Objective(), seconds=2.0, requests_per_second=2.5)
    assert report.within_objective == 0.4
    assert (report.requests, report.failed, report.output_tokens_per_second) == (5, 1, 7.0)
