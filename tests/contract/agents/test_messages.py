"""`/v1/messages` as Anthropic's own client sees it, and the events word by word."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.contract.agents.test_chat_tools import CALL, CALLS
from tests.contract.agents.test_chat_tools import WEATHER as CHAT_WEATHER

anthropic = pytest.importorskip("anthropic")

MESSAGES = "/v1/messages"
USER: Any = {"role": "user", "content": "How is the weather?"}
WEATHER: Any = {
    "name": "get_weather",
    "description": "The weather in a city",
    "input_schema": CHAT_WEATHER["function"]["parameters"],
}
ANSWER = "<think>\nHm.\n</think>\n\nLet me look." + CALL


@pytest.fixture
async def client(stack: Any) -> AsyncIterator[Any]:
    async with anthropic.AsyncAnthropic(base_url=stack.url, api_key="x", max_retries=0) as opened:
        yield opened


def ask(**more: Any) -> dict[str, Any]:
    return {"model": "tiny", "max_tokens": 500, "messages": [USER], **more}


def spell_prompt(stack: Any) -> str:
    text: str = stack.api.tokenizer.decode(stack.engine.submitted[-1].prompt_token_ids, skip_special_tokens=False)
    return text


async def test_a_message_has_thinking_text_and_calls_as_blocks(stack: Any, client: Any) -> None:
    stack.engine.answer = ANSWER
    message = await client.messages.create(**ask(tools=[WEATHER]))
    thinking, text, call = message.content
    assert (thinking.type, thinking.thinking) == ("thinking", "Hm.") and thinking.signature
    assert (text.type, text.text) == ("text", "Let me look.")
    assert (call.type, call.name, call.input) == ("tool_use", "get_weather", {"city": "Oslo"})
    assert call.id.startswith("toolu_") and message.stop_reason == "tool_use"
    assert message.usage.cache_read_input_tokens == 2 and message.usage.output_tokens > 20


async def test_the_clients_own_accumulator_makes_the_same_of_a_stream(stack: Any, client: Any) -> None:
    stack.engine.answer = ANSWER
    whole = await client.messages.create(**ask(tools=[WEATHER]))
    async with client.messages.stream(**ask(tools=[WEATHER])) as stream:
        final = await stream.get_final_message()
    for message in (whole, final):
        message.id = message.content[-1].id = ""
    assert final.model_dump() == whole.model_dump()


async def test_the_events_come_in_anthropics_order(stack: Any, http: Any) -> None:
    stack.engine.answer = ANSWER
    async with http.post(stack.url + MESSAGES, json=ask(tools=[WEATHER], stream=True)) as response:
        assert response.content_type == "text/event-stream"
        lines = (await response.text()).strip().split("\n\n")
    events = [(part.split("\n")[0].removeprefix("event: "), json.loads(part.split("data: ")[1])) for part in lines]
    assert all(name == data["type"] for name, data in events)
    names = [name for name, _ in events if name != "content_block_delta"]
    block = ["content_block_start", "content_block_stop"]
    assert names == ["message_start", "ping", *block * 3, "message_delta", "message_stop"]
    deltas = [data["delta"]["type"] for name, data in events if name == "content_block_delta"]
    assert list(dict.fromkeys(deltas)) == ["thinking_delta", "signature_delta", "text_delta", "input_json_delta"]
    assert events[0][1]["message"]["usage"]["input_tokens"] > 0


async def test_ends_are_told_by_their_reasons(stack: Any, client: Any) -> None:
    stack.engine.answer = "It rains all day long."
    assert (await client.messages.create(**ask())).stop_reason == "end_turn"
    assert (await client.messages.create(**ask(max_tokens=4))).stop_reason == "max_tokens"
    stopped = await client.messages.create(**ask(stop_sequences=["never", "all day"]))
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", "all day")
    assert stopped.content[0].text == "It rains "


async def test_a_history_of_blocks_reaches_the_template(stack: Any, client: Any) -> None:
    stack.engine.answer = CALLS
    first = await client.messages.create(**ask(tools=[WEATHER]))
    weather, time = first.content
    results = [
        {"type": "tool_result", "tool_use_id": weather.id, "content": [{"type": "text", "text": "rain"}]},
        {"type": "tool_result", "tool_use_id": time.id, "is_error": True},
        {"type": "text", "text": "And now?", "cache_control": {"type": "ephemeral"}},
    ]
    thought = {"type": "thinking", "thinking": "Hm.", "signature": "x"}
    history = [USER, {"role": "assistant", "content": [thought, weather, time]}, {"role": "user", "content": results}]
    stack.engine.answer = "It rains."
    second = await client.messages.create(**ask(messages=history, tools=[WEATHER]))
    assert second.content[0].text == "It rains."
    prompt = spell_prompt(stack)
    assert "<think>Hm.</think>" in prompt
    assert prompt.index("get_weather: rain") < prompt.index("get_time: error") < prompt.index("And now?")


async def test_the_system_comes_first_and_a_billing_header_not_at_all(stack: Any, client: Any) -> None:
    system = [
        {"type": "text", "text": "x-anthropic-billing-header: cch=12345;"},
        {"type": "text", "text": "Be short.", "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": "Be kind."},
    ]
    await client.messages.create(**ask(system=system))
    assert spell_prompt(stack).startswith("<|im_start|>system\nBe short.\nBe kind.<|im_end|>")
    await client.messages.create(**ask(system="Be short."))
    assert spell_prompt(stack).startswith("<|im_start|>system\nBe short.<|im_end|>")


async def test_an_answer_can_be_begun(stack: Any, client: Any) -> None:
    await client.messages.create(**ask(messages=[USER, {"role": "assistant", "content": "It"}]))
    assert spell_prompt(stack).endswith("<|im_start|>assistant\nIt")


@pytest.mark.parametrize(
    ("thinking", "closes", "limits"),
    [
        ({"type": "disabled"}, True, False),
        ({"type": "enabled", "budget_tokens": 1024}, False, True),
        ({"type": "adaptive"}, False, False),
    ],
)
async def test_thinking_is_the_templates_and_its_budget_a_grammars(
    stack: Any, client: Any, thinking: Any, closes: bool, limits: bool
) -> None:
    await client.messages.create(**ask(thinking=thinking))
    assert spell_prompt(stack).endswith("</think>\n\n") is closes
    grammar = stack.engine.submitted[-1].grammar
    assert (grammar is not None and "max_tokens=1024" in grammar.text) is limits


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "get_weather"}])
async def test_a_tool_that_must_be_called_is_a_grammar(stack: Any, client: Any, choice: Any) -> None:
    stack.engine.answer = CALLS
    choice = {**choice, "disable_parallel_tool_use": True}
    message = await client.messages.create(**ask(tools=[WEATHER], tool_choice=choice))
    assert [block.name for block in message.content] == ["get_weather"]
    assert "get_weather" in stack.engine.submitted[-1].grammar.text
    await client.messages.create(**ask(tools=[WEATHER], tool_choice={"type": "none"}))
    assert stack.engine.submitted[-1].grammar is None


async def test_tokens_are_counted(stack: Any, client: Any) -> None:
    counted = await client.messages.count_tokens(model="tiny", messages=[USER], tools=[WEATHER], system="Be short.")
    assert not stack.engine.submitted
    message = await client.messages.create(**ask(tools=[WEATHER], system="Be short."))
    assert counted.input_tokens == message.usage.input_tokens + message.usage.cache_read_input_tokens


async def test_errors_are_anthropics(stack: Any, client: Any, post: Any) -> None:
    with pytest.raises(anthropic.NotFoundError) as absent:
        await client.messages.create(**ask(model="other"))
    assert absent.value.body["error"]["type"] == "not_found_error"
    for path in (MESSAGES, "/check" + MESSAGES, f"{MESSAGES}/count_tokens"):
        status, body = await post(
            path, {"model": "tiny", "messages": [{"role": "robot", "content": ""}], "max_tokens": 1}
        )
        assert (status, body["type"], body["error"]["type"]) == (400, "error", "invalid_request_error")
        assert "messages.0.role" in body["error"]["message"]


async def test_an_engine_that_fails_ends_the_stream_with_an_error(stack: Any, client: Any) -> None:
    stack.engine.fails, stack.engine.gate = True, asyncio.Event()
    stream = await client.messages.create(**ask(stream=True))
    stack.engine.gate.set()
    with pytest.raises(anthropic.APIStatusError, match="engine failed"):
        async for _ in stream:
            pass


BAD: list[tuple[dict[str, Any], str]] = [
    ({"max_tokens": None}, "max_tokens"),
    ({"messages": []}, "messages"),
    ({"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]}, "messages.0.content.0.type"),
    ({"messages": [{"role": "user", "content": [{"type": "tool_result"}]}]}, "messages.0.content.0.tool_use_id"),
    ({"messages": [{"role": "user", "content": [{"type": "thinking", "thinking": "x"}]}]}, "thinking is for messages"),
    ({"messages": [{"role": "assistant", "content": [{"type": "tool_result", "tool_use_id": "x"}]}]}, "of role user"),
    ({"tools": [{"name": "a b", "input_schema": {}}]}, "tools.0.name"),
    ({"tools": [{"name": "a"}]}, "tools.0.input_schema"),
    ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools.0.type"),
    ({"tool_choice": {"type": "tool"}}, "tool_choice.name"),
    ({"tool_choice": {"type": "tool", "name": "nobody"}}, "tool_choice"),
    ({"thinking": {"type": "hard"}}, "thinking.type"),
    ({"surprise": 1}, "surprise"),
    ({"mcp_servers": [{}]}, "mcp_servers"),
]


@pytest.mark.parametrize(("more", "named"), BAD)
async def test_a_wrong_field_is_refused_by_its_name(stack: Any, post: Any, more: dict[str, Any], named: str) -> None:
    status, body = await post(MESSAGES, ask(**more))
    assert status == 400 and named in body["error"]["message"], body
    assert not stack.engine.submitted


async def test_the_clients_tool_runner_goes_on_without_a_thread(stack: Any, client: Any) -> None:
    stack.engine.answer = ANSWER
    asked: list[str] = []

    async def get_weather(city: str) -> str:
        asked.append(city)
        stack.engine.answer = "Rain, and I was told so."
        return "Rain"

    runner = client.beta.messages.tool_runner(**ask(tools=[anthropic.beta_async_tool(get_weather)]))
    final = await runner.until_done()
    assert asked == ["Oslo"] and final.content[0].text == "Rain, and I was told so."
    assert "How is the weather?" in spell_prompt(stack)


async def test_a_thread_is_refused_by_the_code_that_the_client_goes_by(post: Any) -> None:
    whole = ask(thread={"type": "create"})
    counted = {name: value for name, value in whole.items() if name != "max_tokens"}
    for path, sent in ((MESSAGES, whole), (f"{MESSAGES}/count_tokens", counted)):
        status, body = await post(path, sent)
        assert status == 400 and body["error"]["details"] == {"error_code": "thread_unsupported_request"}
        assert body["error"]["message"].startswith("thread is not taken: no conversation is kept here")
