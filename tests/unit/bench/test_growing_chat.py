import json
from dataclasses import replace
from typing import Any

from aiohttp import web

from bench.serving.growing_chat import Chat, build_report, drive_users
from bench.serving.http_load import Load
from tests.doubles.loopback import serving

CHAT = Chat(users=2, turns=3, first_tokens=5, turn_tokens=2, answer_tokens=2)
LOAD = Load(url="http://unused", model="m", streams=2, requests=0, tokens_out=2)


def build_app(asked: list[list[int]], *, with_ids: bool = True) -> web.Application:
    async def respond(request: web.Request) -> web.Response:
        body = await request.json()
        prompt = body["prompt"]
        asked.append(prompt)
        ids = {"token_ids": [len(prompt)]} if with_ids else {}
        chunk: dict[str, Any] = {"choices": [{"text": "x", **ids}]}
        usage = {"prompt_tokens": len(prompt), "prompt_tokens_details": {"cached_tokens": len(prompt) - 2}}
        events = [chunk, chunk, {"choices": [], "usage": usage}]
        return web.Response(body=b"".join(b"data: %s\n\n" % json.dumps(one).encode() for one in events))

    app = web.Application()
    app.router.add_post("/v1/completions", respond)
    return app


async def test_each_turn_sends_what_was_answered_before() -> None:
    asked: list[list[int]] = []
    async with serving(build_app(asked)) as url:
        turns = await drive_users(replace(LOAD, url=url), CHAT)
    assert sorted(map(len, asked)) == [5, 5, 9, 9, 13, 13]
    for late in (prompt for prompt in asked if len(prompt) == 13):
        early = next(prompt for prompt in asked if len(prompt) == 5 and prompt == late[:5])
        assert late[5:7] == [5, 5] and late[9:11] == [9, 9] and early != late
    report = build_report(CHAT, turns, 2.0)
    assert (report.turns, report.failed, report.output_tokens_per_second) == (6, 0, 6.0)
    assert report.cached_share == round((7 + 11) / (9 + 13), 4)


async def test_an_engine_that_tells_no_ids_is_a_failure_that_says_so() -> None:
    async with serving(build_app([], with_ids=False)) as url:
        turns = await drive_users(replace(LOAD, url=url), CHAT)
    assert [turn.number for turn in turns] == [0, 0]
    assert all("return_token_ids" in turn.error for turn in turns)
