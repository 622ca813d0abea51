"""What the server sends it takes back: its message, whole or joined from a stream, is good in the next turn."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionMessage

CHAT = "/v1/chat/completions"
MESSAGES: Any = [{"role": "user", "content": "Hi"}]
FUZZ = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
ASKED = st.fixed_dictionaries(
    {},
    optional={
        "n": st.integers(1, 3),
        "logprobs": st.just(True),
        "max_tokens": st.integers(1, 9),
        "stop": st.sampled_from(["Hello", "wör", ["!", "😀"], "H"]),
        "include_stop_str_in_output": st.booleans(),
        "stream_options": st.sampled_from([{"include_usage": True}, {"continuous_usage_stats": True}]),
    },
)
ADDED: list[dict[str, Any]] = [
    {},
    {"parsed": None, "refusal": None, "annotations": [], "tool_calls": []},
    {"annotations": None, "audio": None, "function_call": None, "tool_calls": None, "refusal": None, "name": None},
    {"reasoning_content": None, "reasoning": "", "name": "Bob", "cache_control": {"type": "ephemeral"}},
]
"""What openai-python, openai-node and others put beside the message."""


def join(chunks: list[Any]) -> list[dict[str, Any]]:
    """As clients accumulate deltas: strings are joined, the rest is kept."""
    joined: dict[int, dict[str, Any]] = {}
    for choice in (choice for chunk in chunks for choice in chunk["choices"]):
        message = joined.setdefault(choice["index"], {})
        for name, value in choice["delta"].items():
            message[name] = message[name] + value if name == "content" and name in message else value
    return list(joined.values())


async def ask(stack: Any, http: Any, body: dict[str, Any]) -> list[dict[str, Any]]:
    async with http.post(stack.url + CHAT, json={"model": "tiny", "messages": MESSAGES, **body}) as response:
        text = await response.text()
        assert response.status == 200, text
    if body.get("stream"):
        return join([json.loads(line[6:]) for line in text.split("\n\n") if line and line != "data: [DONE]"])
    return [choice["message"] for choice in json.loads(text)["choices"]]


@FUZZ
@given(asked=ASKED, stream=st.booleans(), answer=st.sampled_from(["", "Hello wörld 😀!", "<eos>", "a\n"]))
async def test_every_answer_is_good_in_the_next_turn(
    stack: Any, http: Any, asked: dict[str, Any], stream: bool, answer: str
) -> None:
    stack.engine.answer = answer
    if not stream:
        asked.pop("stream_options", None)
    for message in await ask(stack, http, {**asked, "stream": stream}):
        client = ChatCompletionMessage.model_validate(message).model_dump()
        for sent in (message, client, *({**message, **more} for more in ADDED)):
            assert await ask(stack, http, {"messages": [*MESSAGES, sent, *MESSAGES]})


async def test_an_assistant_that_said_nothing_is_an_empty_message(stack: Any, http: Any) -> None:
    for message in ({"role": "assistant"}, {"role": "assistant", "content": None}):
        await ask(stack, http, {"messages": [*MESSAGES, message, *MESSAGES]})
    await ask(stack, http, {"messages": [*MESSAGES, {"role": "assistant", "content": ""}, *MESSAGES]})
    assert len({tuple(submit.prompt_token_ids) for submit in stack.engine.submitted}) == 1


@pytest.mark.parametrize("name", ["refusal", "audio", "function_call", "tool_calls", "reasoning_content"])
async def test_what_is_no_such_field_is_refused_by_its_name(stack: Any, post: Any, name: str) -> None:
    message = {"role": "assistant", "content": "Ho", name: [1]}
    status, body = await post(CHAT, {"model": "tiny", "messages": [*MESSAGES, message]})
    assert (status, body["error"]["param"]) == (400, f"messages.1.{name}" + ".0" * (name == "tool_calls"))
    assert f"messages.1.{name}" in body["error"]["message"]
