"""A large body holds up nobody else, and one that can never fit is not even encoded."""

import asyncio
import itertools
import threading
from typing import Any, cast

import orjson
import pytest
from pydantic import ValidationError

from pagoda_server.http.errors import RequestError
from pagoda_server.http.intake import INLINE_BYTES, LARGE_BYTES, LARGE_THREADS, MAX_LARGE_WAITING
from pagoda_server.http.messages import MAX_ITEMS
from pagoda_server.http.schemas import ChatRequest, CompletionRequest, parse
from pagoda_server.http.turns import Conversations
from pagoda_server.text.tokenizer import Tokenizer

MESSAGES: Any = [{"role": "user", "content": "Hi"}]
ANSWER = "Hello wörld 😀!"


class HeldTokenizer:
    """Encodes a chat only when let go."""

    def __init__(self, tokenizer: Any) -> None:
        self.entered = threading.Event()
        self.let_go = threading.Event()
        self.held_above = 0
        self._tokenizer = tokenizer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)

    def encode_chat(self, messages: Any, *more: Any, **named: Any) -> list[int]:
        self.entered.set()
        if len(messages[0]["content"]) >= self.held_above:
            assert self.let_go.wait(60)
        return [1, 2, 3]


@pytest.fixture
def held(stack: Any) -> Any:
    tokenizer = HeldTokenizer(stack.api.tokenizer)
    stack.api.conversations = Conversations(cast(Tokenizer, tokenizer))
    yield tokenizer
    tokenizer.let_go.set()


async def test_others_are_served_while_a_large_prompt_is_encoded(stack: Any, held: Any) -> None:
    stack.engine.gate = asyncio.Event()
    stream = await stack.client.completions.create(model="tiny", prompt=[1, 2], max_tokens=50, stream=True)
    large = [{"role": "user", "content": "x" * INLINE_BYTES}]
    waiting = asyncio.create_task(stack.client.chat.completions.create(model="tiny", messages=large))
    assert await asyncio.to_thread(held.entered.wait, 30)
    stack.engine.gate.set()
    assert "".join([chunk.choices[0].text async for chunk in stream]) == ANSWER
    other = await stack.client.completions.create(model="tiny", prompt=[3], max_tokens=50)
    assert other.choices[0].text == ANSWER
    assert not waiting.done()
    held.let_go.set()
    assert (await waiting).choices[0].message.content == ANSWER


async def test_a_client_that_leaves_while_its_prompt_is_encoded_costs_the_engine_nothing(stack: Any, held: Any) -> None:
    large = [{"role": "user", "content": "x" * INLINE_BYTES}]
    leaving = asyncio.create_task(stack.client.chat.completions.create(model="tiny", messages=large))
    assert await asyncio.to_thread(held.entered.wait, 30)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    await stack.idle()
    held.let_go.set()
    assert (await stack.client.completions.create(model="tiny", prompt=[3], max_tokens=50)).choices[0].text == ANSWER
    assert [submit.prompt_token_ids for submit in stack.engine.submitted] == [[3]]


async def test_small_prompts_wait_behind_no_large_ones_and_only_so_many_of_those_wait(stack: Any, post: Any) -> None:
    held = HeldTokenizer(stack.api.tokenizer)
    held.held_above = LARGE_BYTES
    stack.api.conversations = Conversations(cast(Tokenizer, held))
    large = {"model": "tiny", "messages": [{"role": "user", "content": "x" * LARGE_BYTES}]}
    medium = {"model": "tiny", "messages": [{"role": "user", "content": "x" * INLINE_BYTES}]}
    most = LARGE_THREADS + MAX_LARGE_WAITING
    answers = [asyncio.create_task(post("/v1/chat/completions", large)) for _ in range(most + 3)]
    refused = [await done for done in itertools.islice(asyncio.as_completed(answers), 3)]
    assert {(status, body["error"]["code"]) for status, body in refused} == {(503, "busy")}
    assert (await post("/v1/chat/completions", medium))[0] == 200
    assert sum(not answer.done() for answer in answers) == most
    held.let_go.set()
    assert sorted(status for status, _ in await asyncio.gather(*answers)) == [200] * most + [503] * 3
    assert (await post("/v1/chat/completions", large))[0] == 200


@pytest.mark.parametrize(
    ("path", "field", "value"),
    [
        ("/v1/chat/completions", "messages", [{"role": "user", "content": "x" * 50_000}]),
        ("/v1/completions", "prompt", "x" * 50_000),
        ("/v1/completions", "prompt", ["x", "x" * 50_000]),
        ("/v1/completions", "prompt", [1] * 20_000),
    ],
)
async def test_over_the_context_length(stack: Any, post: Any, path: str, field: str, value: Any) -> None:
    status, body = await post(path, {"model": "tiny", field: value})
    error = body["error"]
    assert (status, error["code"], error["param"]) == (400, "context_length_exceeded", field)
    assert "200 tokens" in error["message"] and len(error["message"]) < 300
    assert not stack.engine.submitted


@pytest.mark.parametrize("item", [{}, 1.5, None, [], [{}], "x" * 5000])
@pytest.mark.parametrize("field", ["messages", "prompt", "stop"])
def test_a_list_of_wrong_items_is_refused_by_the_first(field: str, item: Any) -> None:
    body = {"model": "tiny", field: [item] * 5000}
    kind = CompletionRequest if field == "prompt" else ChatRequest
    with pytest.raises(RequestError) as caught:
        parse(kind, orjson.dumps({"messages": MESSAGES, **body} if field == "stop" else body))
    cause = caught.value.__cause__
    assert isinstance(cause, ValidationError) and cause.error_count() <= 3, "one for each form the field may take"
    assert (caught.value.param or "").startswith(field) and len(caught.value.message) < 300


def test_many_unknown_fields_are_one_error() -> None:
    with pytest.raises(RequestError) as caught:
        parse(ChatRequest, b'{"model":"tiny","messages":[{"role":"user","content":"","a":1,"b":2,"c":3}]}')
    assert caught.value.param == "messages.0.a"
    assert isinstance(caught.value.__cause__, ValidationError) and caught.value.__cause__.error_count() == 1


def test_more_messages_than_any_context_holds_are_refused() -> None:
    many = b",".join([b'{"role":"user","content":""}'] * (MAX_ITEMS + 1))
    with pytest.raises(RequestError, match=str(MAX_ITEMS)) as caught:
        parse(ChatRequest, b'{"model":"tiny","messages":[' + many + b"]}")
    assert caught.value.param == "messages"
