"""Any JSON in the APIs of agents: the answer is 200 or a 4xx in the API's shape, and the server stays healthy."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pagoda_server.http.anthropic.schemas import MessageRequest
from pagoda_server.http.responses.schemas import ResponseRequest
from pagoda_server.http.schemas import ChatRequest

FUZZ = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
TEXT = st.text(max_size=12) | st.sampled_from(["<|im_end|>", "<eos>", "<tool_call>", "{", "}"])
NAME = st.sampled_from(["f", "g", "get_weather"])
SCHEMA = st.sampled_from([{}, {"type": "object"}, {"type": "object", "properties": {"a": {"type": "integer"}}}]) | (
    st.dictionaries(TEXT, ANY_JSON, max_size=3)
)
ARGUMENTS = st.sampled_from(["{}", "", "{", '{"a": 1}', '["<|im_end|>"]']) | TEXT


FUNCTION = st.fixed_dictionaries(
    {"name": NAME}, optional={"description": TEXT, "parameters": SCHEMA, "strict": st.booleans()}
)
CALLED = st.fixed_dictionaries({"name": NAME | TEXT, "arguments": ARGUMENTS})
CALL = st.fixed_dictionaries({"id": TEXT, "type": st.just("function"), "function": CALLED})
CHAT_MESSAGE = st.one_of(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "system"]), "content": TEXT}),
    st.fixed_dictionaries(
        {"role": st.just("assistant")},
        optional={
            "content": TEXT,
            "tool_calls": st.lists(CALL, max_size=3),
            "reasoning": TEXT,
            "function_call": CALLED,
        },
    ),
    st.fixed_dictionaries({"role": st.just("tool"), "content": TEXT}, optional={"tool_call_id": TEXT}),
    st.fixed_dictionaries({"role": st.just("function"), "content": TEXT, "name": NAME}),
)
CHAT = {
    "messages": st.lists(CHAT_MESSAGE, min_size=1, max_size=4),
    "tools": st.lists(FUNCTION.map(lambda one: {"type": "function", "function": one}), max_size=3),
    "tool_choice": st.sampled_from(["none", "auto", "required", {"type": "function", "function": {"name": "f"}}]),
    "parallel_tool_calls": st.booleans(),
    "reasoning_effort": st.sampled_from(["none", "low", "high"]),
    "thinking_token_budget": st.integers(0, 50),
    "chat_template_kwargs": st.dictionaries(TEXT, ANY_JSON, max_size=3),
    "include_reasoning": st.booleans(),
    "n": st.integers(1, 3),
    "logprobs": st.booleans(),
    "stream": st.booleans(),
}
PART = st.fixed_dictionaries({"type": st.sampled_from(["input_text", "output_text"]), "text": TEXT})
ITEM = st.one_of(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant"]), "content": TEXT | st.lists(PART, max_size=2)}
    ),
    st.fixed_dictionaries({"type": st.just("reasoning"), "content": st.lists(PART, max_size=2)}),
    st.fixed_dictionaries({"type": st.just("function_call"), "call_id": TEXT, "name": NAME, "arguments": ARGUMENTS}),
    st.fixed_dictionaries({"type": st.just("function_call_output"), "call_id": TEXT, "output": TEXT}),
)
RESPONSE = {
    "input": TEXT | st.lists(ITEM, min_size=1, max_size=4),
    "instructions": TEXT,
    "tools": st.lists(FUNCTION.map(lambda one: {"type": "function", **one}), max_size=3),
    "tool_choice": st.sampled_from(["none", "auto", "required", {"type": "function", "name": "f"}]),
    "text": st.just({"format": {"type": "json_schema", "name": "a", "schema": {"type": "object"}}}),
    "include": st.just(["message.output_text.logprobs"]),
    "truncation": st.sampled_from(["auto", "disabled"]),
    "metadata": st.dictionaries(TEXT, TEXT, max_size=3),
    "stream": st.booleans(),
}
BLOCK = st.one_of(
    st.fixed_dictionaries({"type": st.just("text"), "text": TEXT}),
    st.fixed_dictionaries({"type": st.just("tool_use"), "id": TEXT, "name": NAME, "input": SCHEMA}),
    st.fixed_dictionaries({"type": st.just("tool_result"), "tool_use_id": TEXT}, optional={"content": TEXT}),
    st.fixed_dictionaries({"type": st.just("thinking"), "thinking": TEXT, "signature": TEXT}),
)
MESSAGE = {
    "messages": st.lists(
        st.fixed_dictionaries(
            {"role": st.sampled_from(["user", "assistant"]), "content": TEXT | st.lists(BLOCK, max_size=3)}
        ),
        min_size=1,
        max_size=4,
    ),
    "max_tokens": st.integers(1, 60),
    "system": TEXT,
    "tools": st.lists(st.fixed_dictionaries({"name": NAME, "input_schema": SCHEMA}), max_size=3),
    "tool_choice": st.sampled_from(
        [{"type": "auto"}, {"type": "any"}, {"type": "none"}, {"type": "tool", "name": "f"}]
    ),
    "thinking": st.sampled_from([{"type": "disabled"}, {"type": "enabled", "budget_tokens": 9}, {"type": "adaptive"}]),
    "stop_sequences": st.lists(st.text(min_size=1, max_size=4), max_size=3),
    "stream": st.booleans(),
}
APIS: dict[str, tuple[dict[str, st.SearchStrategy[Any]], list[str], Any]] = {
    "/v1/chat/completions": (CHAT, ["messages"], ChatRequest),
    "/v1/responses": (RESPONSE, ["input"], ResponseRequest),
    "/v1/messages": (MESSAGE, ["messages", "max_tokens"], MessageRequest),
}
ANSWERS = st.sampled_from(
    [
        "",
        "Hello",
        '<think>Hm</think>Hello<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>',
        '<tool_call>\n{"name": "f", "argum',
        "<think>no end",
    ]
)


def build_bodies(path: str) -> st.SearchStrategy[Any]:
    """Good bodies; such with one field of any JSON; any JSON."""
    fields, required, kind = APIS[path]
    good = st.fixed_dictionaries(
        {"model": st.just("tiny"), **{name: fields[name] for name in required}},
        optional={name: value for name, value in fields.items() if name not in required},
    )
    names = st.sampled_from([*fields, *kind.model_fields])
    return good | st.builds(lambda body, name, value: {**body, name: value}, good, names, ANY_JSON) | ANY_JSON


def check_error(path: str, body: Any) -> None:
    if path == "/v1/messages":
        assert body["type"] == "error" and {"type", "message"} <= set(body["error"]) <= {"type", "message", "details"}
    else:
        assert set(body["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize("path", APIS)
@FUZZ
@given(data=st.data(), answer=ANSWERS)
async def test_any_json_is_answered(stack: Any, http: Any, path: str, data: st.DataObject, answer: str) -> None:
    stack.engine.answer = answer
    body = data.draw(build_bodies(path))
    async with http.post(stack.url + path, data=json.dumps(body).encode()) as response:
        text = await response.text()
        if response.status != 200:
            assert 400 <= response.status < 500, text
            check_error(path, json.loads(text))
        elif response.content_type == "text/event-stream":
            assert '"error":{' not in text and "event: error" not in text
        else:
            assert json.loads(text)["model"] == "tiny"
    assert stack.api.healthy
