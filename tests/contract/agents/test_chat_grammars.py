"""What a chat's answer must follow, in the model's own notation, is a grammar that llguidance compiles and heeds."""

from typing import Any

import pytest
from llguidance import LLMatcher, LLTokenizer

from pagoda_server.grammar.attempt import convert
from pagoda_server.http.turns import list_grammar_tokens
from tests.contract.agents.test_chat_tools import CALL, CALLS, CHAT, TIME, WEATHER, ask
from tests.doubles.tiny_models import AGENT_MARKS

THINK = "<think>\nHm.\n</think>\n\n"
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
FORM = {"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA, "strict": True}}
STRICT = {**WEATHER, "function": {**WEATHER["function"], "strict": True, "parameters": SCHEMA}}
NAMED = {"type": "function", "function": {"name": "get_time"}}


def takes(stack: Any, answer: str) -> bool:
    """Returns whether the grammar of the last request takes this answer, and as a whole."""
    grammar = stack.engine.submitted[-1].grammar
    tokenizer = LLTokenizer(stack.api.tokenizer.raw.to_str())
    matcher = LLMatcher(tokenizer, convert(grammar))
    assert not matcher.is_error(), matcher.get_error()
    ids = stack.api.tokenizer.encode(answer)
    return matcher.try_consume_tokens(ids) == len(ids) and matcher.is_accepting()


async def test_the_compiler_takes_the_same_tokens_for_special(stack: Any) -> None:
    tokenizer = stack.api.tokenizer
    compiled = LLTokenizer(tokenizer.raw.to_str())
    special = {one for one in tokenizer.raw.get_added_tokens_decoder() if compiled.is_special_token(one)}
    assert special == set(list_grammar_tokens(tokenizer).values()) and len(special) == 3 + len(AGENT_MARKS)


async def test_what_is_asked_for_by_nothing_is_free(stack: Any, post: Any) -> None:
    for more in ({}, {"tools": None}, {"tools": None, "reasoning_effort": "none"}, {"tool_choice": "none"}):
        assert (await post(CHAT, ask(**more)))[0] == 200
        assert stack.engine.submitted[-1].grammar is None


@pytest.mark.parametrize(
    ("more", "good", "bad"),
    [
        ({"tool_choice": "required"}, CALL, "It rains."),
        ({"tool_choice": "required"}, THINK + CALLS, THINK + "It rains."),
        ({"tool_choice": "required", "parallel_tool_calls": False}, CALL, CALLS),
        ({"tool_choice": NAMED}, CALL.replace("weather", "time"), CALL),
        ({"tools": [STRICT]}, CALL, CALL.replace("city", "town")),
        ({"tools": [STRICT]}, "It rains.", CALL.replace('"Oslo"', "7")),
        ({"tools": [STRICT], "response_format": FORM}, CALL, "It rains."),
        ({"tools": [STRICT], "response_format": FORM}, THINK + '{"city": "Oslo"}', '{"town": "Oslo"}'),
        ({"tools": None, "response_format": FORM}, THINK + '{"city": "Oslo"}', THINK + "Oslo"),
        ({"tools": None, "structured_outputs": {"choice": ["yes", "no"]}}, THINK + "no", THINK + "maybe"),
        ({"tools": None, "guided_regex": "[0-9]+/[0-9]+"}, THINK + "1/2", THINK + "one"),
        ({"tools": None, "guided_grammar": 'root ::= "a" "b"'}, THINK + "ab", THINK + "ba"),
        ({"tools": None, "guided_grammar": 'start: "a" "b"'}, THINK + "ab", THINK + "ba"),
    ],
)
async def test_the_grammar_takes_what_was_asked_for_and_nothing_else(
    stack: Any, post: Any, more: dict[str, Any], good: str, bad: str
) -> None:
    status, body = await post(CHAT, ask(**more))
    assert status == 200, body
    assert takes(stack, good) and not takes(stack, bad)


async def test_reasoning_has_a_budget(stack: Any, post: Any) -> None:
    status, body = await post(CHAT, ask(tools=None, thinking_token_budget=30))
    assert status == 200, body
    assert takes(stack, "<think>Hm.</think>Hello") and takes(stack, "Hello")
    assert not takes(stack, "<think>" + "No end of it. " * 5 + "</think>Hello")


async def test_a_strict_schema_that_cannot_be_followed_names_its_place(post: Any) -> None:
    tool = {"type": "function", "function": {"name": "f", "strict": True, "parameters": {"properties": {"a": 5}}}}
    status, body = await post(CHAT, ask(tools=[TIME, tool]))
    assert (status, body["error"]["param"]) == (400, "tools")
    assert body["error"]["message"].startswith("tools[1] is strict, and its parameters at /properties/a")
