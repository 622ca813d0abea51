"""A value that asks for what is done anyway is no reason to refuse; what is not built says so."""

from typing import Any

import pytest

from pagoda_server.http.engine_client import RequestRejected
from pagoda_server.http.generate import say_rejected
from pagoda_server.http.turns import Conversations
from pagoda_server.text.tokenizer import build_tokenizer

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
MESSAGES: Any = [{"role": "user", "content": "Hi"}]
IDLE: dict[str, list[Any]] = {
    "add_generation_prompt": [True],
    "audio": [None],
    "best_of": [1, 1.0],
    "chat_template_kwargs": [{}],
    "continue_final_message": [False],
    "early_stopping": [False],
    "echo": [False],
    "functions": [[]],
    "include_stop_str_in_output": [False],
    "length_penalty": [1, 1.0],
    "logit_bias": [{}, {"5": 0}],
    "max_tokens": [2.0],
    "metadata": [{}, {"a": "b"}],
    "min_tokens": [0, 0.0],
    "modalities": [["text"]],
    "n": [1.0, None],
    "parallel_tool_calls": [True, False],
    "prediction": [None, {"type": "content", "content": "x"}],
    "priority": [0],
    "prompt_cache_key": ["x"],
    "prompt_cache_retention": ["24h"],
    "reasoning_effort": [None, "none"],
    "request_id": ["x"],
    "response_format": [{"type": "text"}, None],
    "return_token_ids": [False],
    "safety_identifier": ["x"],
    "seed": [7.0],
    "service_tier": ["auto", "default", "flex"],
    "skip_special_tokens": [True],
    "spaces_between_special_tokens": [True],
    "stop": [[], None, ["a"] * 64],
    "stop_token_ids": [[]],
    "store": [False, True],
    "stream_options": [None, {}, {"include_usage": None}, {"include_usage": False}],
    "guided_decoding_backend": ["auto", "xgrammar:no-fallback"],
    "guided_json_object": [False],
    "structured_outputs": [None, {}, {"json_object": False}, {"disable_any_whitespace": True}],
    "suffix": [""],
    "surprise": [None],
    "tool_choice": ["none", "auto"],
    "tools": [[]],
    "top_k": [-1, 0.0],
    "top_logprobs": [0, None],
    "truncate_prompt_tokens": [None],
    "use_beam_search": [False],
    "user": ["x"],
    "verbosity": ["low", "medium", "high"],
}
ASKING: dict[str, list[Any]] = {
    "modalities": [["text", "audio"]],
    "priority": [1],
    "suffix": ["x"],
    "use_beam_search": [True],
}
OF_CHATS: dict[str, list[Any]] = {
    "chat_template_kwargs": [{"enable_thinking": False}],
    "parallel_tool_calls": ["yes"],
    "reasoning_effort": ["high"],
    "tool_choice": ["required", {"type": "function"}],
    "tools": [[{"type": "function"}]],
}


def build(path: str, **more: Any) -> dict[str, Any]:
    return {"model": "tiny", **({"messages": MESSAGES} if path == CHAT else {"prompt": "Hi"}), **more}


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
@pytest.mark.parametrize("name", IDLE)
async def test_a_value_that_asks_for_nothing_is_taken(post: Any, path: str, name: str) -> None:
    for value in IDLE[name]:
        status, body = await post(path, build(path, **{name: value}))
        assert status == 200, (name, value, body)


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
@pytest.mark.parametrize("name", ASKING)
async def test_what_is_not_built_says_so(post: Any, path: str, name: str) -> None:
    for value in ASKING[name]:
        status, body = await post(path, build(path, **{name: value}))
        assert (status, body["error"]["code"]) == (400, "unsupported_parameter"), (name, value, body)
        assert body["error"]["message"].startswith(f"{name} is not ") and "remove it" in body["error"]["message"]


@pytest.mark.parametrize("name", OF_CHATS)
async def test_a_completion_is_no_conversation(post: Any, name: str) -> None:
    for value in OF_CHATS[name]:
        status, body = await post(COMPLETIONS, build(COMPLETIONS, **{name: value}))
        assert (status, body["error"]["code"]) == (400, "unsupported_parameter"), (name, value, body)
        assert body["error"]["message"].startswith(f"{name} is taken by /v1/chat/completions alone"), body


async def test_best_of_as_many_as_are_answered(post: Any) -> None:
    assert (await post(COMPLETIONS, build(COMPLETIONS, n=2, best_of=2)))[0] == 200


async def test_an_image_is_not_supported_and_a_hint_on_a_part_is_taken(post: Any) -> None:
    parts = [{"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}]
    assert (await post(CHAT, build(CHAT, messages=[{"role": "user", "content": parts}])))[0] == 200
    parts = [{"type": "image_url", "image_url": {"url": "https://e.example"}}]
    _, body = await post(CHAT, build(CHAT, messages=[{"role": "user", "content": parts}]))
    assert "messages.0.content.0.type image_url is not supported" in body["error"]["message"]


async def test_a_prompt_is_never_shown_at_length(post: Any) -> None:
    for wrong in ({"stop": ["secret " * 100, 1]}, {"messages": "secret " * 100}, {"messages": [["secret"] * 100]}):
        _, body = await post(CHAT, build(CHAT, **wrong))
        assert body["error"]["message"].count("secret") < 15, body


async def test_the_name_on_a_message_reaches_the_template(stack: Any, post: Any) -> None:
    stack.api.conversations = Conversations(build_named(stack.api.tokenizer))
    for name in ("Bob", "<eos>"):
        assert (await post(CHAT, build(CHAT, messages=[{"role": "user", "content": "Hi", "name": name}])))[0] == 200
    named, forged = (submit.prompt_token_ids for submit in stack.engine.submitted)
    assert stack.api.tokenizer.raw.decode(named) == "Bob:Hi"
    assert stack.api.tokenizer.raw.decode(forged, skip_special_tokens=False) == "<eos>:Hi" and 0 not in forged


def build_named(tokenizer: Any) -> Any:
    return build_tokenizer(tokenizer.raw, "{{ messages[0].name }}:{{ messages[0].content }}", {})


async def test_usage_is_on_each_chunk_where_it_is_asked_for(stack: Any) -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}
    stream = await stack.client.chat.completions.create(
        model="tiny", messages=MESSAGES, stream=True, stream_options=options
    )
    usages = [chunk.usage async for chunk in stream]
    counts = [usage.completion_tokens for usage in usages]
    assert counts == sorted(counts) and counts[-1] == counts[-2] > 0
    assert all(usage.total_tokens == usage.prompt_tokens + usage.completion_tokens for usage in usages)


async def test_usage_is_on_no_chunk_where_the_last_does_not_tell_it(stack: Any) -> None:
    for options in ({"continuous_usage_stats": True}, {"continuous_usage_stats": True, "include_usage": False}):
        stream = await stack.client.chat.completions.create(
            model="tiny", messages=MESSAGES, stream=True, stream_options=options
        )
        assert [chunk.usage async for chunk in stream if chunk.usage is not None] == []


@pytest.mark.parametrize("asked", [0, 1, 3])
async def test_the_chosen_token_is_always_among_the_top_ones_of_a_completion(stack: Any, asked: int) -> None:
    answer = await stack.client.completions.create(model="tiny", prompt="Hi", logprobs=asked, max_tokens=50)
    scores = answer.choices[0].logprobs
    for token, score, top in zip(scores.tokens, scores.token_logprobs, scores.top_logprobs, strict=True):
        assert top[token] == score and len(top) <= asked + 1


@pytest.mark.parametrize(("asked", "told"), [(1e-38, 0), (1e-6, 0), (0.1, 0.1), (0, 0)])
async def test_a_temperature_near_nothing_is_greedy(stack: Any, post: Any, asked: float, told: float) -> None:
    assert (await post(CHAT, build(CHAT, temperature=asked, top_p=1e-320)))[0] == 200
    assert stack.engine.submitted[0].sampling.temperature == told
    assert stack.engine.submitted[0].sampling.top_p >= 1e-6


@pytest.mark.parametrize(("prompt", "told"), [(100, 16), (190, 10), (199, 1)])
async def test_without_max_tokens_what_is_left_is_the_default(stack: Any, post: Any, prompt: int, told: int) -> None:
    assert (await post(COMPLETIONS, build(COMPLETIONS, prompt=[1] * prompt)))[0] == 200
    assert stack.engine.submitted[0].sampling.max_tokens == told
    _, body = await post(COMPLETIONS, build(COMPLETIONS, prompt=[1] * 200, max_tokens=20))
    assert "max_tokens" not in body["error"]["message"]


async def test_stop_tokens_and_kept_stop_strings(stack: Any, post: Any) -> None:
    _, body = await post(CHAT, build(CHAT, stop="wör", include_stop_str_in_output=True, stop_token_ids=[5.0]))
    assert body["choices"][0]["message"]["content"] == "Hello wör"
    assert stack.engine.submitted[0].sampling.stop_token_ids == (5,)


@pytest.mark.parametrize(
    ("path", "more", "cost"),
    [
        (COMPLETIONS, {"prompt": [[1, 2], [3]], "n": 3, "max_tokens": 10}, {"sequences": 6, "tokens": 69}),
        (COMPLETIONS, {"prompt": [1]}, {"sequences": 1, "tokens": 17}),
        (CHAT, {"max_tokens": 10, "n": 2}, None),
    ],
)
async def test_a_check_weighs_a_request_and_runs_nothing(
    stack: Any, post: Any, path: str, more: dict[str, Any], cost: dict[str, int] | None
) -> None:
    status, body = await post("/check" + path, build(path, **more))
    assert status == 200 and set(body) == {"sequences", "tokens"}
    assert cost is None or body == cost
    assert not stack.engine.submitted
    refused = build(path, **more, surprise=1)
    assert await post("/check" + path, refused) == await post(path, refused)


def test_a_request_that_waited_too_long_in_the_engine_may_come_again() -> None:
    error = say_rejected(RequestRejected("waited 60 s", None, "overdue"))
    assert (error.status, error.code) == (503, "wait_exceeded")
    assert say_rejected(RequestRejected("too long", "prompt")).status == 400
