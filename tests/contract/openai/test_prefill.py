"""Answers that go on with the last message."""

from typing import Any

import pytest

CHAT = "/v1/chat/completions"
USER: dict[str, Any] = {"role": "user", "content": "Hi"}
BEGUN: dict[str, Any] = {"role": "assistant", "content": "Hel"}
ANSWER = "Hello wörld 😀!"


def build(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"model": "tiny", "messages": [*messages], **more}


def read_prompt(stack: Any) -> str:
    text: str = stack.api.tokenizer.decode(stack.engine.submitted[-1].prompt_token_ids)
    return text


@pytest.mark.parametrize(
    "body",
    [
        build(USER, BEGUN, continue_final_message=True),
        build(USER, BEGUN, continue_final_message=True, add_generation_prompt=False),
        build(USER, {**BEGUN, "prefix": True}),
        build(USER, {**BEGUN, "partial": True}),
    ],
    ids=str,
)
async def test_the_prompt_is_open_where_the_message_ends(stack: Any, post: Any, body: dict[str, Any]) -> None:
    assert (await post(CHAT, body))[0] == 200
    assert read_prompt(stack) == "<|user|>Hi\n<|assistant|>Hel"


async def test_a_message_is_closed_where_nothing_else_is_said(stack: Any, post: Any) -> None:
    assert (await post(CHAT, build(USER, BEGUN)))[0] == 200
    assert read_prompt(stack) == "<|user|>Hi\n<|assistant|>Hel\n<|assistant|>"
    assert (await post(CHAT, build(USER, BEGUN, add_generation_prompt=False)))[0] == 200
    assert read_prompt(stack) == "<|user|>Hi\n<|assistant|>Hel\n"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (build(USER, BEGUN, continue_final_message=True, add_generation_prompt=True), "add_generation_prompt"),
        (build({**USER, "prefix": True}), "messages.0.prefix"),
        (build({**BEGUN, "prefix": True}, USER), "messages.0.prefix"),
        (build(USER, echo=True), "echo"),
    ],
    ids=str,
)
async def test_a_contradiction_is_refused_by_name(post: Any, body: dict[str, Any], param: str) -> None:
    status, answer = await post(CHAT, body)
    assert (status, answer["error"]["param"]) == (400, param), answer


@pytest.mark.parametrize("stream", [False, True])
async def test_an_echo_of_the_begun_message_makes_it_whole(stack: Any, stream: bool) -> None:
    extra = {"continue_final_message": True, "echo": True}
    messages = [USER, BEGUN]
    answer = await stack.client.chat.completions.create(
        model="tiny", messages=messages, stream=stream, extra_body=extra
    )
    if stream:
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in answer])
    else:
        text = answer.choices[0].message.content
    assert text == "Hel" + ANSWER
