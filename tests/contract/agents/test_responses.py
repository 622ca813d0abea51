"""`/v1/responses` as OpenAI's own client sees it."""

import asyncio
import json
from typing import Any

import pytest

from tests.contract.agents.test_chat_tools import CALL, CALLS
from tests.contract.agents.test_chat_tools import WEATHER as CHAT_WEATHER

RESPONSES = "/v1/responses"
WEATHER: Any = {"type": "function", **CHAT_WEATHER["function"], "strict": False}
ANSWER = "<think>\nHm.\n</think>\n\nLet me look." + CALL
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def ask(**more: Any) -> dict[str, Any]:
    return {"model": "tiny", "input": "How is the weather?", **more}


def spell_prompt(stack: Any) -> str:
    text: str = stack.api.tokenizer.decode(stack.engine.submitted[-1].prompt_token_ids, skip_special_tokens=False)
    return text


def drop_ids(item: Any) -> Any:
    """Returns a dumped object without what is new each time."""
    if isinstance(item, list):
        return [drop_ids(one) for one in item]
    if not isinstance(item, dict):
        return item
    return {key: drop_ids(value) for key, value in item.items() if key not in ("id", "call_id", "created_at")}


async def test_a_response_has_reasoning_text_and_calls_as_items(stack: Any) -> None:
    stack.engine.answer = ANSWER
    response = await stack.client.responses.create(**ask(tools=[WEATHER]))
    reasoning, message, call = response.output
    assert (reasoning.type, reasoning.content[0].text) == ("reasoning", "Hm.")
    assert response.output_text == message.content[0].text == "Let me look."
    assert (call.type, call.name, json.loads(call.arguments)) == ("function_call", "get_weather", {"city": "Oslo"})
    assert response.status == "completed" and response.usage.output_tokens_details.reasoning_tokens > 0
    assert response.usage.input_tokens_details.cached_tokens == 2


async def test_the_events_build_the_response_that_a_whole_answer_is(stack: Any) -> None:
    stack.engine.answer = ANSWER
    whole = await stack.client.responses.create(**ask(tools=[WEATHER]))
    events = [event async for event in await stack.client.responses.create(**ask(tools=[WEATHER], stream=True))]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [event.type for event in events][:3] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
    ]
    assert drop_ids(events[-1].response.model_dump()) == drop_ids(whole.model_dump())
    done = [event.item.model_dump() for event in events if event.type == "response.output_item.done"]
    assert done == [item.model_dump() for item in events[-1].response.output]
    for kind, text in (
        ("reasoning_text", "Hm."),
        ("output_text", "Let me look."),
        ("function_call_arguments", '{"city": "Oslo"}'),
    ):
        deltas = [event.delta for event in events if event.type == f"response.{kind}.delta"]
        assert "".join(deltas) == text and len(deltas) > 1
        (end,) = [event for event in events if event.type == f"response.{kind}.done"]
        assert (end.arguments if kind == "function_call_arguments" else end.text) == text


async def test_the_clients_own_accumulator_takes_the_stream(stack: Any) -> None:
    stack.engine.answer = ANSWER
    async with stack.client.responses.stream(**ask(tools=[WEATHER])) as stream:
        final = await stream.get_final_response()
    assert final.output_text == "Let me look." and final.output[-1].name == "get_weather"


async def test_an_answer_that_broke_off_is_incomplete(stack: Any) -> None:
    stack.engine.answer = "It rains all day long."
    response = await stack.client.responses.create(**ask(max_output_tokens=5))
    assert (response.status, response.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    events = [event async for event in await stack.client.responses.create(**ask(max_output_tokens=5, stream=True))]
    assert events[-1].type == "response.incomplete" and events[-1].response.output[0].status == "incomplete"


async def test_an_engine_that_fails_ends_the_stream_with_a_failed_response(stack: Any) -> None:
    stack.engine.fails, stack.engine.gate = True, asyncio.Event()
    stream = await stack.client.responses.create(**ask(stream=True))
    stack.engine.gate.set()
    events = [event async for event in stream]
    assert events[-1].type == "response.failed" and events[-1].response.error.code == "server_error"
    assert [event.sequence_number for event in events] == list(range(len(events)))


async def test_what_came_goes_back_as_input(stack: Any) -> None:
    stack.engine.answer = ANSWER
    first = await stack.client.responses.create(**ask(tools=[WEATHER], instructions="Be short."))
    result = {"type": "function_call_output", "call_id": first.output[-1].call_id, "output": "rain"}
    history = [{"role": "user", "content": "How is the weather?"}, *first.output, result]
    stack.engine.answer = "It rains."
    second = await stack.client.responses.create(**ask(input=history, tools=[WEATHER]))
    assert second.output_text == "It rains."
    prompt = spell_prompt(stack)
    assert prompt.count("<|im_start|>assistant") == 2, "thought, text and call are one message"
    assert "<think>Hm.</think>\nLet me look.<tool_call>" in prompt, prompt
    assert "<tool_response>get_weather: rain</tool_response>" in prompt


async def test_every_kind_of_item_reaches_the_template(stack: Any, post: Any) -> None:
    items = [
        {"role": "developer", "content": [{"type": "input_text", "text": "Short."}]},
        {"type": "message", "role": "user", "content": "One", "id": "item_1", "status": "completed"},
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Sum"}]},
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "Two", "annotations": []}],
        },
        {"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "No"}]},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{"},
        {"type": "function_call", "call_id": "c2", "name": "g", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "R2"}], "id": "i"},
        {"type": "function_call_output", "call_id": "c1", "output": "R1"},
    ]
    status, body = await post(RESPONSES, ask(input=items))
    assert status == 200, body
    prompt = spell_prompt(stack)
    assert prompt.startswith("<|im_start|>system\nShort.<|im_end|>\n<|im_start|>user\nOne<|im_end|>")
    assert "<think>Sum</think>\nTwo<|im_end|>" in prompt and "No<tool_call>" in prompt, prompt
    assert prompt.index("g: R2") < prompt.index("f: R1")


async def test_structured_text_is_a_grammar(stack: Any) -> None:
    form = {"format": {"type": "json_schema", "name": "place", "schema": SCHEMA, "strict": True}}
    response = await stack.client.responses.create(**ask(text=form))
    assert "city" in stack.engine.submitted[-1].grammar.text
    assert response.text.format.schema_ == SCHEMA


@pytest.mark.parametrize("choice", ["required", {"type": "function", "name": "get_weather"}])
async def test_a_tool_that_must_be_called_is_a_grammar(stack: Any, choice: Any) -> None:
    stack.engine.answer = CALLS
    response = await stack.client.responses.create(
        **ask(tools=[WEATHER], tool_choice=choice, parallel_tool_calls=False)
    )
    assert [item.type for item in response.output] == ["function_call"]
    assert "get_weather" in stack.engine.submitted[-1].grammar.text


async def test_logprobs_are_of_the_text_alone(stack: Any) -> None:
    stack.engine.answer = "<think>Hm.</think>Yes"
    wish = ask(include=["message.output_text.logprobs"], top_logprobs=2)
    response = await stack.client.responses.create(**wish)
    logprobs = response.output[-1].content[0].logprobs
    assert "".join(one.token for one in logprobs).endswith("Yes") and len(logprobs[0].top_logprobs) == 2
    events = [event async for event in await stack.client.responses.create(**wish, stream=True)]
    told = [one.token for event in events if event.type == "response.output_text.delta" for one in event.logprobs]
    assert "".join(told).endswith("Yes") and "Hm" not in "".join(told)


async def test_a_conversation_that_is_too_long_loses_its_oldest_turns(stack: Any, post: Any) -> None:
    items = [{"role": "user", "content": f"Turn {at} " + "x" * 900} for at in range(12)]
    status, body = await post(RESPONSES, ask(input=items, instructions="Be short."))
    assert (status, body["error"]["code"], body["error"]["param"]) == (400, "context_length_exceeded", "input")
    status, body = await post(RESPONSES, ask(input=items, instructions="Be short.", truncation="auto"))
    prompt = spell_prompt(stack)
    assert status == 200 and "Be short." in prompt and "Turn 11 " in prompt and "Turn 0 " not in prompt
    kept = [at for at in range(12) if f"Turn {at} " in prompt]
    assert kept == list(range(kept[0], 12)) and len(kept) >= 7, "as many as fit beside an answer"
    long = [{"role": "user", "content": "x" * 9000}]
    status, body = await post(RESPONSES, ask(input=long, truncation="auto"))
    assert (status, body["error"]["code"]) == (400, "context_length_exceeded")


async def test_the_tokens_of_an_input_are_counted(stack: Any, post: Any) -> None:
    status, body = await post(f"{RESPONSES}/input_tokens", ask(tools=[WEATHER]))
    assert (status, body["object"]) == (200, "response.input_tokens") and not stack.engine.submitted
    response = await stack.client.responses.create(**ask(tools=[WEATHER]))
    assert body["input_tokens"] == response.usage.input_tokens


async def test_nothing_is_told_back_that_is_nested_too_deep_to_be_written(post: Any) -> None:
    deep: Any = "x"
    for _ in range(400):
        deep = {"a": deep}
    tool = {**WEATHER, "parameters": {"type": "object", "properties": deep}}
    form = {"format": {"type": "json_schema", "name": "a", "schema": deep}}
    for more in ({"tools": [tool]}, {"text": form}, {"metadata": deep}, {"chat_template_kwargs": deep}):
        status, body = await post(RESPONSES, ask(**more))
        assert status == 400, body


async def test_a_check_weighs_a_response(stack: Any, post: Any) -> None:
    status, body = await post("/check" + RESPONSES, ask(max_output_tokens=10))
    assert status == 200 and body["sequences"] == 1 and body["tokens"] > 10 and not stack.engine.submitted


async def test_a_request_is_counted_once(stack: Any, http: Any) -> None:
    await stack.client.responses.create(**ask())
    async with http.get(f"{stack.url}/metrics") as response:
        counts = [
            line for line in (await response.text()).splitlines() if line.startswith("vllm:request_params_n_count")
        ]
    assert [line.rsplit(" ", 1)[1] for line in counts] == ["1.0"]


BAD: list[tuple[dict[str, Any], str]] = [
    ({"input": []}, "input"),
    ({"input": 5}, "input"),
    ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input.0.type"),
    ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]}, "input.0.content.0.type"),
    ({"input": [{"role": "robot", "content": "x"}]}, "input.0.role"),
    ({"input": [{"type": "function_call", "name": "f", "arguments": "{}"}]}, "input.0.call_id"),
    ({"tools": [{"type": "web_search"}]}, "tools.0.type"),
    ({"tools": [{"type": "function"}]}, "tools.0.name"),
    ({"tool_choice": {"type": "function", "name": "f"}}, "tool_choice"),
    ({"text": {"format": {"type": "json_schema", "name": "a"}}}, "text.format.schema"),
    ({"text": {"format": {"type": "json_schema", "name": "a", "schema": {"type": "integr"}}}}, "text.format.schema"),
    ({"previous_response_id": "resp_1"}, "previous_response_id"),
    ({"background": True}, "background"),
    ({"conversation": "conv_1"}, "conversation"),
    ({"prompt": {"id": "p"}}, "prompt"),
    ({"surprise": 1}, "surprise"),
    ({"metadata": {"a": [[[]]]}}, "metadata"),
    ({"max_output_tokens": 0}, "max_output_tokens"),
    ({"include": ["everything"]}, "include.0"),
    ({"reasoning": {"effort": "extreme"}}, "reasoning.effort"),
    ({"model": "other"}, "model"),
]


@pytest.mark.parametrize(("more", "param"), BAD)
async def test_a_wrong_field_is_refused_by_its_name(stack: Any, post: Any, more: dict[str, Any], param: str) -> None:
    status, body = await post(RESPONSES, ask(**more))
    assert status in (400, 404) and body["error"]["param"] == param, body
    assert not stack.engine.submitted


@pytest.mark.parametrize("stream", [False, True])
async def test_log_probabilities_of_held_back_blanks_come_with_the_text_behind_them(stack: Any, stream: bool) -> None:
    stack.engine.answer = text = "One\n \n two"
    more = ask(include=["message.output_text.logprobs"], top_logprobs=1)
    if stream:
        events = [event async for event in await stack.client.responses.create(**more, stream=True)]
        deltas = [event for event in events if event.type == "response.output_text.delta"]
        logprobs = [one for event in deltas for one in event.logprobs]
        assert all(event.logprobs for event in deltas)
    else:
        response = await stack.client.responses.create(**more)
        logprobs = response.output[-1].content[0].logprobs
    assert "".join(one.token for one in logprobs) == text


async def test_reasoning_may_be_left_out_of_a_response(stack: Any) -> None:
    stack.engine.answer = ANSWER
    response = await stack.client.responses.create(**ask(tools=[WEATHER], extra_body={"include_reasoning": False}))
    assert [item.type for item in response.output] == ["message", "function_call"]


async def test_the_sampling_fields_of_chats_reach_the_engine(stack: Any, post: Any) -> None:
    stack.engine.answer = "One two three"
    fields = {"min_p": 0.25, "logit_bias": {"5": -1}, "ignore_eos": True, "cache_salt": "mine", "stop": "two"}
    status, response = await post(RESPONSES, ask(**fields, include_stop_str_in_output=True))
    assert status == 200 and response["output"][-1]["content"][0]["text"] == "One two"
    sampling = stack.engine.submitted[-1].sampling
    assert (sampling.min_p, sampling.ignore_eos) == (0.25, True)
    status, refused = await post(RESPONSES, ask(stop=["x" * 1000] * 5))
    assert status == 400 and refused["error"]["param"] == "stop"
