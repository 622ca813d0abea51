"""Whatever is sent: an OpenAI error that names the field, never a 5xx, and nobody else notices."""

import asyncio
import json
from typing import Any

import pytest

from pagoda_server.http.fields import CHAT_FIELDS

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
MESSAGES: Any = [{"role": "user", "content": "Hi"}]
ANSWER = "Hello wörld 😀!"


def chat(**more: Any) -> dict[str, Any]:
    return {"model": "tiny", "messages": MESSAGES, **more}


def completion(**more: Any) -> dict[str, Any]:
    return {"model": "tiny", "prompt": "Hi", **more}


def message(**more: Any) -> dict[str, Any]:
    return chat(messages=[*MESSAGES, {"role": "user", "content": "Ho", **more}])


def without(body: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key != name}


BAD: list[tuple[str, Any, int, str | None, str | None]] = [
    # path, body, status, param, code
    (CHAT, chat(model="other"), 404, "model", "model_not_found"),
    (CHAT, chat(model="x" * 90_000), 404, "model", "model_not_found"),
    (COMPLETIONS, completion(model="other"), 404, "model", "model_not_found"),
    (CHAT, without(chat(), "model"), 400, "model", "missing_required_parameter"),
    (CHAT, without(chat(), "messages"), 400, "messages", "missing_required_parameter"),
    (COMPLETIONS, without(completion(), "prompt"), 400, "prompt", "missing_required_parameter"),
    (CHAT, b"", 400, None, "invalid_json"),
    (CHAT, b'{"model": "tiny", ', 400, None, "invalid_json"),
    (CHAT, b"[]", 400, None, "invalid_json"),
    (CHAT, b"null", 400, None, "invalid_json"),
    (CHAT, b"\xff\xfe", 400, None, "invalid_json"),
    (CHAT, b'{"a":' * 5000, 400, None, "invalid_json"),
    (CHAT, b'{"model":"tiny","messages":[{"role":"user","content":"\\ud800"}]}', 400, None, "invalid_json"),
    (CHAT, b'{"model":"tiny","messages":[],"temperature":NaN}', 400, None, "invalid_json"),
    (CHAT, b" " * 100_001, 413, None, None),
    (CHAT, chat(surprise=1), 400, "surprise", "unknown_parameter"),
    (CHAT, chat(**{"s" * 5000: 1}), 400, "s" * 80 + "…", "unknown_parameter"),
    (COMPLETIONS, completion(messages=MESSAGES), 400, "messages", "unknown_parameter"),
    (CHAT, message(name=5), 400, "messages.1.name", "invalid_value"),
    (CHAT, message(surprise=5), 400, "messages.1.surprise", "unknown_parameter"),
    (CHAT, message(tool_calls=[{}]), 400, "messages.1.tool_calls.0.function", "missing_required_parameter"),
    (CHAT, message(role="robot"), 400, "messages.1.role", "invalid_value"),
    (CHAT, message(content=None), 400, "messages.1.content", "invalid_value"),
    (CHAT, message(content=5), 400, "messages.1.content", "invalid_value"),
    (CHAT, message(content=["Ho"]), 400, "messages.1.content.0", "invalid_value"),
    (CHAT, message(content=[{"type": "text"}]), 400, "messages.1.content.0.text", "missing_required_parameter"),
    (CHAT, message(content=[{"type": "text", "text": 5}]), 400, "messages.1.content.0.text", "invalid_value"),
    (CHAT, message(content=[{"type": "image_url", "image_url": {}}]), 400, "messages.1.content.0.type", None),
    (CHAT, without(chat(), "messages") | {"messages": [{"role": "user"}]}, 400, "messages.0.content", None),
    (CHAT, chat(stop=["a"] * 65), 400, "stop", "invalid_value"),
    (CHAT, chat(stop=["a" * 1000] * 5), 400, "stop", "invalid_value"),
    (CHAT, chat(stop_token_ids=[10**6]), 400, "stop_token_ids", "invalid_value"),
    (CHAT, chat(**{"a\nb\u2028": 5}), 400, "a\ufffdb\ufffd", "unknown_parameter"),
    (CHAT, b'{"messages":' + b"[" * 1500 + b"]" * 1500 + b"}", 400, None, "invalid_json"),
    (CHAT, b'{"model":"tiny","messages":' + b"[" * 1000 + b"]" * 1000 + b"}", 400, "messages.0", "invalid_value"),
    (CHAT, b'{"model":"tiny","messages":[],"seed":' + b"7" * 5000 + b"}", 400, None, "invalid_json"),
    (CHAT, chat(messages=[1]), 400, "messages.0", "invalid_value"),
    (CHAT, chat(messages={"role": "user"}), 400, "messages", "invalid_value"),
    (CHAT, chat(messages=[]), 400, "messages", "invalid_value"),
    (CHAT, chat(stream=True, stream_options={"include_usage": "yes"}), 400, "stream_options.include_usage", None),
    (CHAT, chat(stream=True, stream_options={"usage": True}), 400, "stream_options.usage", "unknown_parameter"),
    (CHAT, chat(stream_options={"include_usage": True}), 400, "stream_options", None),
    (CHAT, chat(response_format={"type": "text", "x": 1}), 400, "response_format.x", "unknown_parameter"),
    (CHAT, chat(response_format={"type": "structural_tag"}), 400, "response_format", "unsupported_parameter"),
    (CHAT, chat(max_tokens=5, max_completion_tokens=6), 400, "max_tokens", None),
    (CHAT, chat(messages=[{"role": "user", "content": "x" * 500}]), 400, "messages", "context_length_exceeded"),
    (CHAT, chat(max_tokens=10**30), 400, "max_tokens", "invalid_value"),
    (CHAT, chat(max_tokens=True), 400, "max_tokens", "invalid_value"),
    (CHAT, chat(max_tokens=4, min_tokens=5), 400, "min_tokens", None),
    (CHAT, chat(top_logprobs=2), 400, "top_logprobs", None),
    (CHAT, chat(stop=["a", 1]), 400, "stop", "invalid_value"),
    (CHAT, chat(stop={"a": 1}), 400, "stop", "invalid_value"),
    (CHAT, chat(temperature="hot"), 400, "temperature", "invalid_value"),
    (COMPLETIONS, completion(prompt="x" * 90_000), 400, "prompt", "context_length_exceeded"),
    (COMPLETIONS, completion(prompt=[]), 400, "prompt", "invalid_value"),
    (COMPLETIONS, completion(prompt=""), 400, "prompt", None),
    (COMPLETIONS, completion(prompt=[[]]), 400, "prompt", "invalid_value"),
    (COMPLETIONS, completion(prompt=[1, "a"]), 400, "prompt", "invalid_value"),
    (COMPLETIONS, completion(prompt=["a", 1]), 400, "prompt", "invalid_value"),
    (COMPLETIONS, completion(prompt=[[1], "a"]), 400, "prompt", "invalid_value"),
    (COMPLETIONS, completion(prompt=[-1]), 400, "prompt", "invalid_value"),
    (COMPLETIONS, completion(prompt=[10**9]), 400, "prompt", None),
    (COMPLETIONS, completion(prompt=["a"] * 65), 400, "prompt", "invalid_value"),
    (COMPLETIONS, completion(logprobs=21), 400, "logprobs", "invalid_value"),
    ("/tokenize", {"prompt": "a", "messages": MESSAGES}, 400, "prompt", None),
    ("/tokenize", {"model": "other", "prompt": "a"}, 404, "model", "model_not_found"),
    ("/v1/embeddings", {}, 404, None, "unsupported_endpoint"),
    ("/v1/nothing", {}, 404, None, "not_found"),
    ("/check/v1/chat/completions", chat(model="other"), 404, "model", "model_not_found"),
    ("/check/v1/completions", completion(prompt=""), 400, "prompt", None),
]


def check_error(status: int, body: Any) -> dict[str, Any]:
    error: dict[str, Any] = body["error"]
    assert set(error) == {"message", "type", "param", "code"} and 400 <= status < 500, body
    assert error["type"] == "invalid_request_error" and 0 < len(error["message"]) < 1000
    return error


@pytest.mark.parametrize(("path", "body", "status", "param", "code"), BAD)
async def test_a_bad_request_is_refused_by_the_name_of_its_field(
    stack: Any, post: Any, path: str, body: Any, status: int, param: str | None, code: str | None
) -> None:
    answered, answer = await post(path, body)
    assert json.dumps(answer, ensure_ascii=False).isprintable()
    error = check_error(answered, answer)
    assert (answered, error["param"]) == (status, param), error
    assert code is None or error["code"] == code, error
    assert param is None or param.split(".")[-1].rstrip("…") in error["message"] or "prompt" in error["message"], error
    assert not stack.engine.submitted, "the engine hears of no bad request"


async def test_any_field_left_null_is_as_good_as_left_out(stack: Any, post: Any) -> None:
    status, _ = await post(CHAT, chat(**dict.fromkeys([*CHAT_FIELDS, "anything"])))
    assert status == 200


async def test_a_wrong_method_is_an_openai_error_too(stack: Any, http: Any) -> None:
    async with http.get(stack.url + CHAT) as response:
        check_error(response.status, await response.json())
        assert response.status == 405


def join_chunks(chunks: list[Any]) -> tuple[str, list[str | None]]:
    """Tokens that come while the server is busy share a chunk, so that only their joint text is certain."""
    choices = [choice for chunk in chunks for choice in chunk.choices]
    return "".join(c.delta.content or "" for c in choices), [c.finish_reason for c in choices if c.finish_reason]


async def test_a_stream_keeps_its_tokens_while_bad_requests_pour_in(stack: Any, post: Any) -> None:
    create = stack.client.chat.completions.create
    undisturbed = [chunk async for chunk in await create(model="tiny", messages=MESSAGES, stream=True)]
    stack.engine.gate = asyncio.Event()
    stream = await create(model="tiny", messages=MESSAGES, stream=True)
    answers = await asyncio.gather(*(post(path, body) for path, body, *_ in BAD * 2))
    assert all(400 <= status < 500 for status, _ in answers)
    stack.engine.gate.set()
    disturbed = [chunk async for chunk in stream]
    assert join_chunks(disturbed) == join_chunks(undisturbed)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in disturbed) == ANSWER
    assert stack.api.healthy and len(stack.engine.submitted) == 2
