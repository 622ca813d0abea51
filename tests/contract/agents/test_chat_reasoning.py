"""Reasoning in chat completions, as OpenAI's own client sees it."""

from typing import Any

import pytest

from pagoda_server.http.turns import Conversations
from pagoda_server.text.tokenizer import build_tokenizer

CHAT = "/v1/chat/completions"
USER: Any = {"role": "user", "content": "Hi"}
ANSWER = "<think>\nThe user greets.\n</think>\n\nHello!"


def ask(**more: Any) -> dict[str, Any]:
    return {"model": "tiny", "messages": [USER], **more}


def spell_prompt(stack: Any) -> str:
    text: str = stack.api.tokenizer.decode(stack.engine.submitted[-1].prompt_token_ids, skip_special_tokens=False)
    return text


async def test_reasoning_is_split_from_the_answer(stack: Any) -> None:
    stack.engine.answer = ANSWER
    answer = await stack.client.chat.completions.create(**ask())
    message = answer.choices[0].message
    assert (message.reasoning_content, message.content) == ("The user greets.", "Hello!")
    assert message.reasoning == message.reasoning_content
    assert 0 < answer.usage.completion_tokens_details.reasoning_tokens < answer.usage.completion_tokens


async def test_reasoning_is_streamed(stack: Any) -> None:
    stack.engine.answer = ANSWER
    stream = await stack.client.chat.completions.create(**ask(stream=True, stream_options={"include_usage": True}))
    chunks = [chunk async for chunk in stream]
    deltas = [choice.delta.model_dump() for chunk in chunks for choice in chunk.choices]
    for name in ("reasoning_content", "reasoning"):
        assert "".join(delta.get(name) or "" for delta in deltas) == "The user greets."
    assert "".join(delta["content"] or "" for delta in deltas) == "Hello!"
    assert sum("reasoning" in delta for delta in deltas) > 5
    assert chunks[-1].usage.completion_tokens_details.reasoning_tokens > 0


async def test_reasoning_that_nobody_wants_is_left_out(stack: Any, post: Any) -> None:
    stack.engine.answer = ANSWER
    _, body = await post(CHAT, ask(include_reasoning=False))
    assert body["choices"][0]["message"] == {"role": "assistant", "content": "Hello!", "refusal": None}
    assert body["usage"]["completion_tokens_details"]["reasoning_tokens"] > 0


async def test_reasoning_that_did_not_end_has_no_content(stack: Any, post: Any) -> None:
    stack.engine.answer = ANSWER
    _, body = await post(CHAT, ask(max_tokens=12))
    (choice,) = body["choices"]
    assert choice["message"]["content"] is None and choice["message"]["reasoning_content"]
    assert choice["finish_reason"] == "length"


async def test_an_answer_without_reasoning_counts_none(stack: Any, post: Any) -> None:
    stack.engine.answer = "Hello!"
    _, body = await post(CHAT, ask())
    assert body["choices"][0]["message"] == {"role": "assistant", "content": "Hello!", "refusal": None}
    assert body["usage"]["completion_tokens_details"] == {"reasoning_tokens": 0}


@pytest.mark.parametrize(
    "more",
    [
        {"chat_template_kwargs": {"enable_thinking": False}},
        {"reasoning_effort": "none"},
        {"reasoning_effort": "high", "chat_template_kwargs": {"enable_thinking": False}},
    ],
)
async def test_reasoning_can_be_switched_off(stack: Any, more: dict[str, Any]) -> None:
    stack.engine.answer = "Hello!"
    await stack.client.chat.completions.create(**ask(extra_body=more))
    assert spell_prompt(stack).endswith("<think>\n\n</think>\n\n")
    await stack.client.chat.completions.create(**ask(reasoning_effort="high"))
    assert spell_prompt(stack).endswith("assistant\n")


async def test_a_budget_of_minus_one_is_none(stack: Any, post: Any) -> None:
    stack.engine.answer = "Hello!"
    for path, asked in ((CHAT, ask()), ("/v1/completions", {"model": "tiny", "prompt": "Hi"})):
        assert (await post(path, {**asked, "thinking_token_budget": -1}))[0] == 200
        assert stack.engine.submitted[-1].grammar is None
        status, refused = await post(path, {**asked, "thinking_token_budget": -2})
        assert (status, refused["error"]["param"]) == (400, "thinking_token_budget")


@pytest.mark.parametrize(
    ("levels", "told"), [("'low' 'medium' 'high'", "high"), ("'xhigh'", "xhigh"), ("'high' 'max'", "max")]
)
async def test_the_most_effort_is_told_in_the_templates_own_words(stack: Any, levels: str, told: str) -> None:
    source = "{% set known = [" + ", ".join(levels.split()) + "] %}{{ reasoning_effort }}<think>"
    stack.api.conversations = Conversations(build_tokenizer(stack.api.tokenizer.raw, source, {}))
    await stack.client.chat.completions.create(**ask(extra_body={"reasoning_effort": "max"}))
    assert spell_prompt(stack) == f"{told}<think>"


async def test_earlier_reasoning_is_the_templates_to_show(stack: Any) -> None:
    for name in ("reasoning_content", "reasoning"):
        messages = [USER, {"role": "assistant", "content": "Hello!", name: "A greeting."}, USER]
        await stack.client.chat.completions.create(**ask(messages=messages))
        assert "<think>A greeting.</think>" in spell_prompt(stack)


async def test_a_stop_string_is_looked_for_in_all_that_the_model_writes(stack: Any, post: Any) -> None:
    stack.engine.answer = ANSWER
    _, body = await post(CHAT, ask(stop="greets"))
    message = body["choices"][0]["message"]
    assert (message["reasoning_content"], message["content"]) == ("The user ", None)
