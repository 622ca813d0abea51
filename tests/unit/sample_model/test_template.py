"""The model's chat template: the same text in transformers, in the server's sandbox and in the corpus."""

from pathlib import Path
from typing import Any

import pytest

from pagoda_server.text.budget import Budget, current
from pagoda_server.text.sandbox import Sandbox
from sample_model import corpus
from sample_model.rendering import TEMPLATE, render

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather.\n\nArgs:\n    city: where",
        "strict": True,
        "parameters": {
            "title": "Weather",
            "type": "object",
            "properties": {
                "city": {"title": "City", "type": "string"},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
                "days": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
                "free": True,
            },
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
QUESTION = {"role": "user", "content": "What is the weather in Paris?"}


def build_call(arguments: Any, content: str | None = None) -> dict[str, Any]:
    function = {"name": "get_weather", "arguments": arguments}
    return {"role": "assistant", "content": content, "tool_calls": [{"id": "1", "function": function}]}


def render_in_sandbox(messages: list[dict[str, Any]], **options: Any) -> str:
    token = current.set(Budget(messages=len(messages), characters=4096))
    try:
        return Sandbox().from_string(TEMPLATE.read_text()).render(messages=messages, **options)
    finally:
        current.reset(token)


def test_every_conversation_of_the_corpus_is_rendered_alike_by_all_three() -> None:
    tokenizer = pytest.importorskip("transformers").AutoTokenizer.from_pretrained(Path(TEMPLATE).parent)
    kinds = set()
    for conversation in corpus.build_training(1, 150):
        messages, thinks = conversation.list_messages(), conversation.thought is not None
        options = {"tools": conversation.list_tools(), "enable_thinking": thinks}
        text = render(messages, **options)
        assert render_in_sandbox(messages, **options) == text
        assert tokenizer.apply_chat_template(messages, tokenize=False, **options) == text
        kinds.add((bool(conversation.tools), thinks))
    assert len(kinds) == 4


def test_a_plain_chat_has_no_more_than_its_messages() -> None:
    system = {"role": "system", "content": "Be brief."}
    assert render([system, QUESTION], add_generation_prompt=True) == (
        "<|system|>Be brief.<|end|><|user|>What is the weather in Paris?<|end|><|assistant|>"
    )
    assert render([QUESTION], tools=None, enable_thinking=False) == "<|user|>What is the weather in Paris?<|end|>"


def test_a_tool_is_shown_by_its_name_first_line_and_types() -> None:
    assert render_in_sandbox([QUESTION], tools=[WEATHER, {"function": {"name": "now"}}]) == (
        '<|system|><tools>\n{"name": "get_weather", "description": "Get the weather.", "parameters": '
        '{"city": "string", "unit": "celsius|fahrenheit?", "days": "any?", "free": "any?"}}\n'
        '{"name": "now", "parameters": {}}\n</tools><|end|><|user|>What is the weather in Paris?<|end|>'
    )


@pytest.mark.parametrize("arguments", [{"city": "Paris"}, '{"city": "Paris"}'])
def test_arguments_may_be_a_mapping_or_a_string(arguments: Any) -> None:
    assert render_in_sandbox([build_call(arguments)]) == (
        '<|assistant|><tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call><|end|>'
    )


def test_a_call_stands_below_what_was_said_before_it() -> None:
    assert render_in_sandbox([build_call("{}", "Let me look.")]).startswith("<|assistant|>Let me look.\n<tool_call>\n")


def test_results_that_follow_each_other_are_one_turn() -> None:
    results = [{"role": "tool", "tool_call_id": str(index), "content": text} for index, text in enumerate("ab")]
    assert render_in_sandbox([*results, QUESTION, results[0]], add_generation_prompt=True) == (
        "<|user|><tool_response>\na\n</tool_response>\n<tool_response>\nb\n</tool_response><|end|>"
        "<|user|>What is the weather in Paris?<|end|>"
        "<|user|><tool_response>\na\n</tool_response><|end|><|assistant|>"
    )


def test_thinking_is_asked_for_in_the_system_turn() -> None:
    system = {"role": "system", "content": "Be brief."}
    assert render_in_sandbox([QUESTION], enable_thinking=True).startswith(
        "<|system|>Begin with <think>.<|end|><|user|>"
    )
    assert render_in_sandbox([system, QUESTION], enable_thinking=True).startswith(
        "<|system|>Be brief.\nBegin with <think>.<|end|><|user|>"
    )
