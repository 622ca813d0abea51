"""Answers that follow a schema, an expression or a grammar: a real engine with a model of random weights, over HTTP."""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import jsonschema
import pytest
from aiohttp import web
from openai import AsyncOpenAI

from pagoda_server.engine.config import EngineConfig
from pagoda_server.http.app import HttpApi
from pagoda_server.http.engine_client import EngineClient, RequestRejected
from pagoda_server.http.generate import say_rejected
from pagoda_server.http.runner import build_runner
from pagoda_server.process.engine import serve_engine
from pagoda_server.settings import Settings
from pagoda_server.text.tokenizer import read_tokenizer
from tests.doubles.schemas import CAT, DOG, INTEGER, TEXT, build_schemas, closed
from tests.doubles.tiny_models import write_model, write_tokenizer

MESSAGES: Any = [{"role": "user", "content": "Hi"}]
CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
PERSON = closed({"name": TEXT, "age": INTEGER, "tags": {"type": "array", "items": TEXT, "maxItems": 2}})
SCHEMAS = [schema for at, (_, schema) in enumerate(build_schemas()) if at % 7 == 0]
AT_ONCE = 12


class Server:
    def __init__(self, url: str, api: HttpApi, client: AsyncOpenAI, http: aiohttp.ClientSession) -> None:
        self.url, self.api, self.client, self._http = url, api, client, http

    async def post(self, path: str, **body: Any) -> tuple[int, Any]:
        """Returns the status and the answer's JSON."""
        more = {"messages": MESSAGES} if path.endswith(CHAT) else {"prompt": "Hi"}
        async with self._http.post(
            self.url + path, json={"model": "tiny", "max_tokens": 900, **more, **body}
        ) as answer:
            return answer.status, await answer.json()

    async def say(self, path: str = CHAT, **body: Any) -> tuple[str, str]:
        """Returns the answer's text and why it ended."""
        status, answer = await self.post(path, **body)
        assert status == 200, answer
        choice = answer["choices"][0]
        return choice["text"] if path == COMPLETIONS else choice["message"]["content"], choice["finish_reason"]


@contextlib.asynccontextmanager
async def serve(folder: Path, **settings: Any) -> AsyncIterator[Server]:
    """Runs the engine and a front in this process; the grammars' trials have a process of their own."""
    write_tokenizer(folder)
    write_model(folder, vocab_size=330, eos_token_id=0, max_position_embeddings=4096, initializer_range=0.05)
    options = {"kv_cache_bytes": 16 << 20, "page_size": 16, "measure_capacity": False, **settings}
    config = EngineConfig(model=folder, socket=folder / "e.sock", device="cpu", **options)
    ready = asyncio.Event()
    engine = asyncio.create_task(serve_engine(config, on_ready=ready.set))
    await ready.wait()
    api = HttpApi(
        Settings(engine=config, served_model_name="tiny", namespace="ns", model_deployment="chat"),
        read_tokenizer(folder),
    )
    api.engine = await EngineClient.connect(config.socket)
    runner = build_runner(api.build_app())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        async with (
            AsyncOpenAI(base_url=f"{url}/v1", api_key="x", max_retries=0) as client,
            aiohttp.ClientSession() as http,
        ):
            yield Server(url, api, client, http)
    finally:
        await runner.cleanup()
        await api.engine.close()
        engine.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await engine


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with serve(tmp_path) as server:
        yield server


def as_schema(schema: Any, **more: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, **more}}


async def read_choices(answer: Any) -> list[tuple[str, str]]:
    """Returns the text and the reason of each choice, of an answer that is whole or a stream."""
    if hasattr(answer, "choices"):
        return [(choice.message.content, choice.finish_reason) for choice in answer.choices]
    texts: dict[int, str] = {}
    reasons: dict[int, str] = {}
    async for chunk in answer:
        for choice in chunk.choices:
            texts[choice.index] = texts.get(choice.index, "") + (choice.delta.content or "")
            reasons[choice.index] = choice.finish_reason or ""
    return [(texts[index], reasons[index]) for index in texts]


def count_valid(choices: list[tuple[str, str]], schema: Any) -> int:
    """Returns how many are whole, each of which must validate."""
    whole = [text for text, reason in choices if reason == "stop"]
    assert {reason for _, reason in choices} <= {"stop", "length"}
    for text in whole:
        jsonschema.validate(json.loads(text), schema)
    return len(whole)


async def test_every_answer_validates_streamed_or_not_with_n_and_logprobs(server: Server) -> None:
    turns = asyncio.Semaphore(AT_ONCE)
    ways: list[dict[str, Any]] = [{}, {"stream": True}, {"n": 2}, {"stream": True, "n": 2}, {"logprobs": True}]

    async def ask(at: int, schema: Any) -> tuple[int, int]:
        async with turns:
            way = {"response_format": as_schema(schema), "max_tokens": 900, **ways[at % len(ways)]}
            answer = await server.client.chat.completions.create(model="tiny", messages=MESSAGES, **way)
            choices = await read_choices(answer)
        return count_valid(choices, schema), len(choices)

    counts = await asyncio.gather(*(ask(at, schema) for at, schema in enumerate(SCHEMAS)))
    assert sum(whole for whole, _ in counts) > 0.95 * sum(total for _, total in counts)


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
async def test_every_spelling_of_every_form(server: Server, path: str) -> None:
    ways: list[tuple[dict[str, Any], str]] = [
        ({"structured_outputs": {"json": PERSON}}, "person"),
        ({"structured_outputs": {"json": json.dumps(PERSON), "disable_any_whitespace": True}}, "compact"),
        ({"structured_outputs": {"regex": "[a-f]{3}"}}, "[a-f]{3}"),
        ({"structured_outputs": {"choice": ["yes", "no", "é😀"]}}, "yes|no|é😀"),
        ({"structured_outputs": {"grammar": 'root ::= "a" | "b" root'}}, "b*a"),
        ({"guided_json": PERSON, "guided_whitespace_pattern": "_"}, "underscores"),
        ({"guided_regex": "x[0-9]y$", "guided_decoding_backend": "xgrammar"}, "x[0-9]y"),
        ({"guided_choice": ["a b", "c"]}, "a b|c"),
        ({"guided_grammar": 'start: "1" | "2" start'}, "2*1"),
        ({"response_format": as_schema(PERSON)}, "person"),
        ({"response_format": as_schema(PERSON, strict=True, description="d")}, "person"),
    ]
    for fields, form in ways:
        text, reason = await server.say(path, **fields)
        assert reason == "stop", fields
        match form:
            case "person" | "compact":
                jsonschema.validate(json.loads(text), PERSON)
                assert (
                    form == "person" or json.dumps(json.loads(text), separators=(",", ":"), ensure_ascii=False) == text
                )
            case "underscores":
                assert re.match(r"\{_?\"name\"_?:", text)
            case _:
                assert re.fullmatch(form, text), (fields, text)


async def test_any_object_is_one_and_text_is_free(server: Server) -> None:
    for fields in ({"response_format": {"type": "json_object"}}, {"guided_json_object": True}):
        text, reason = await server.say(**fields, max_tokens=60)
        assert text.startswith("{") and (reason == "length" or isinstance(json.loads(text), dict))
    free, _ = await server.say(response_format={"type": "text"}, max_tokens=20, seed=1)
    assert (free, "length") == await server.say(max_tokens=20, seed=1)


async def test_a_seed_gives_the_same_answer_whole_streamed_and_beside_others(server: Server) -> None:
    fields: dict[str, Any] = {"response_format": as_schema(PERSON), "seed": 5}
    alone, _ = await server.say(**fields)
    others = [server.say(response_format=as_schema({"anyOf": [CAT, DOG]})) for _ in range(6)]
    (again, _), *_ = await asyncio.gather(server.say(**fields), *others)
    stream = await server.client.chat.completions.create(model="tiny", messages=MESSAGES, stream=True, **fields)
    assert alone == again == (await read_choices(stream))[0][0]


async def test_a_stop_string_a_length_and_min_tokens_hold_under_a_schema(server: Server) -> None:
    fields: dict[str, Any] = {"response_format": as_schema(PERSON)}
    text, reason = await server.say(**fields, stop=["name"])
    assert reason == "stop" and re.fullmatch(r"\{\s*\"", text)
    text, reason = await server.say(**fields, max_tokens=2)
    assert reason == "length" and text.startswith("{")
    text, reason = await server.say(guided_regex="[a-c]+", min_tokens=30, max_tokens=200)
    assert len(text) >= 30 and re.fullmatch("[a-c]+", text)
    text, reason = await server.say(guided_choice=["yes"], min_tokens=30, ignore_eos=True, max_tokens=200)
    assert (text, reason) == ("yes", "stop")


async def test_answers_validate_when_their_requests_are_preempted(tmp_path: Path) -> None:
    async with serve(tmp_path, kv_cache_bytes=200_000, max_num_seqs=8) as server:
        array = {"type": "array", "items": INTEGER, "minItems": 30, "maxItems": 30}
        fields: dict[str, Any] = {"guided_json": array, "max_tokens": 250}
        said = await asyncio.gather(*(server.say(**fields, seed=seed) for seed in range(8)))
        for text, reason in said:
            assert reason == "stop"
            jsonschema.validate(json.loads(text), array)
        assert [await server.say(**fields, seed=seed) for seed in range(2)] == said[:2]
        async with asyncio.timeout(20):
            while server.api.stats is None or not server.api.stats.preemptions:  # told twice per second
                await asyncio.sleep(0.05)


async def test_what_cannot_be_compiled_is_refused_in_every_way_before_the_answer_begins(server: Server) -> None:
    overlapping = {"properties": {"a": {"oneOf": [{"type": "string"}, {"type": "string", "minLength": 1}]}}}
    endless = {"properties": {"a": {"type": "integer", "multipleOf": 9_999_991}}}
    for schema, words in ((overlapping, "use anyOf"), (endless, "make it simpler")):
        for path in (CHAT, COMPLETIONS, f"/check{CHAT}"):
            for stream in (False, True):
                status, body = await server.post(path, response_format=as_schema(schema), stream=stream)
                error = body["error"]
                assert (status, error["param"]) == (400, "response_format.json_schema.schema")
                assert "at /properties/a" in error["message"] and words in error["message"]
    assert (await server.say(guided_choice=["a"]))[0] == "a"


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"guided_json": {"not": {}}}, "guided_json", "guided_json at /not: not is not supported"),
    ({"guided_json": "{"}, "guided_json", "not valid JSON"),
    ({"guided_json": 3}, "guided_json", "give an object"),
    ({"guided_regex": "[a-"}, "guided_regex", "unclosed character class"),
    ({"guided_choice": []}, "guided_choice", "give a list of 1 to 10000 strings"),
    ({"guided_choice": ["a", 1]}, "guided_choice", "give a list"),
    ({"guided_grammar": "start: nope"}, "guided_grammar", 'unknown name: "nope"'),
    ({"guided_regex": "a", "guided_choice": ["a"]}, "guided_choice", "guided_regex and guided_choice are given"),
    (
        {"guided_regex": "a", "response_format": {"type": "json_object"}},
        "guided_regex",
        "response_format and guided_regex are given; give one of them",
    ),
    ({"structured_outputs": {"json": {}, "regex": "a"}}, "structured_outputs.regex", "give one of them"),
    ({"structured_outputs": {"structural_tag": "x"}}, "structured_outputs.structural_tag", "not supported yet"),
    ({"structured_outputs": {"jsn": {}}}, "structured_outputs.jsn", "not a field"),
    ({"response_format": {"type": "json_schema"}}, "response_format.json_schema", "is missing"),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}},
        "response_format.json_schema.name",
        "is missing",
    ),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}},
        "response_format.json_schema.schema",
        "is missing",
    ),
    ({"response_format": {"type": "xml"}}, "response_format.type", "use text, json_object or json_schema"),
]


async def test_what_is_wrong_with_a_form_is_said(server: Server) -> None:
    for fields, param, words in WRONG:
        for path in (CHAT, f"/check{COMPLETIONS}"):
            status, body = await server.post(path, **fields)
            assert (status, body["error"]["param"]) == (400, param), body
            assert words in body["error"]["message"]


def test_an_answer_that_its_grammar_ends_is_no_fault_of_the_server() -> None:
    error = say_rejected(RequestRejected("the answer's grammar: it met a limit", None, "unfinished"))
    assert (error.status, error.body()["error"]["type"]) == (422, "invalid_request_error")
