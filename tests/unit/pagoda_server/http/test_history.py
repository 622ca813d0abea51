"""One history fits the templates of all families: in the words that each wants, and with nothing lost."""

from typing import Any

import pytest

from pagoda_server.http.history import fit_messages
from pagoda_server.http.tool_schemas import read_arguments
from pagoda_server.text.template import read_template

CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": read_arguments('{"a": 1}')}}
HISTORY: list[dict[str, Any]] = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": None, "reasoning_content": "Hm.", "tool_calls": [CALL, {**CALL, "id": "call_2"}]},
    {"role": "tool", "tool_call_id": "call_2", "content": "two"},
    {"role": "tool", "tool_call_id": "call_1", "content": "one"},
]


def fit(source: str, messages: list[dict[str, Any]] = HISTORY) -> list[dict[str, Any]]:
    return fit_messages(messages, read_template(source))


def test_results_get_the_names_of_their_calls() -> None:
    assert [message.get("name") for message in fit("{{ messages }}")] == [None, None, "f", "f"]


def test_results_without_ids_answer_calls_in_their_order() -> None:
    calls: list[Any] = [
        {**CALL, "id": None},
        {"type": "function", "function": {"name": "g", "arguments": read_arguments("")}},
    ]
    told: list[dict[str, Any]] = [
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "name": "g", "content": "of g"},
        {"role": "tool", "content": "of f"},
    ]
    asked, of_g, of_f = fit("{{ messages }}", told)
    ids = [call["id"] for call in asked["tool_calls"]]
    assert len(set(ids)) == 2 and [of_f["tool_call_id"], of_g["tool_call_id"]] == ids and of_f["name"] == "f"


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("{{ message.reasoning_content }}", ["reasoning_content"]),
        ("{{ message.reasoning }}", ["reasoning"]),
        ("{{ message['thinking'] }}{% if enable_thinking %}{% endif %}", ["thinking"]),
        ("{{ message.content }}", []),
    ],
)
def test_reasoning_has_the_name_that_the_template_knows(source: str, names: list[str]) -> None:
    told = fit(source)[1]
    assert [name for name in ("reasoning_content", "reasoning", "thinking") if name in told] == names


def test_content_is_null_only_where_the_template_asks_for_null() -> None:
    assert fit("{{ messages }}")[1]["content"] == ""
    assert fit("{% if message['content'] is none %}{% endif %}")[1]["content"] is None
    assert fit("{% if message.content is not none %}{% endif %}")[1]["content"] == ""


def test_calls_stand_one_by_one_where_the_template_shows_one() -> None:
    told = fit("{{ message.tool_calls[0].function }}", [*HISTORY, {"role": "user", "content": "Ho"}])
    assert [message["role"] for message in told] == ["user", "assistant", "tool", "assistant", "tool", "user"]
    assert [len(message.get("tool_calls", ())) for message in told] == [0, 1, 0, 1, 0, 0]
    assert [message["content"] for message in told if message["role"] == "tool"] == ["one", "two"]
    unanswered = fit("{{ message.tool_calls[0].function }}", HISTORY[:2])
    assert [message["role"] for message in unanswered] == ["user", "assistant", "assistant"]


def list_ids(messages: list[dict[str, Any]]) -> tuple[list[str], list[str]]:
    asked = [call["id"] for message in messages for call in message.get("tool_calls", ())]
    return asked, [message["tool_call_id"] for message in messages if "tool_call_id" in message]


def test_mistrals_ids_have_nine_letters_and_kimis_say_the_function() -> None:
    asked, answered = list_ids(fit("{% if call.id|length != 9 %}{{ raise_exception('no') }}{% endif %}"))
    assert answered == asked[::-1] and all(len(one) == 9 and one.isalnum() for one in asked)
    asked, answered = list_ids(fit("<|tool_calls_section_begin|>"))
    assert asked == ["functions.f:0", "functions.f:1"] and answered == asked[::-1]
    lost = [{"role": "tool", "tool_call_id": "gone", "name": "g", "content": ""}]
    assert list_ids(fit("<|tool_calls_section_begin|>", lost))[1] == ["functions.g:0"]


@pytest.mark.parametrize(
    ("written", "members", "text"),
    [
        ('{"a":1}', {"a": 1}, '{"a":1}'),
        ("", {}, "{}"),
        (" \n", {}, "{}"),
        (None, {}, "{}"),
        ({"a": [1]}, {"a": [1]}, '{"a": [1]}'),
        ("{", {"INVALID_JSON": "{"}, "{"),
        ("[1]", {"INVALID_JSON": "[1]"}, "[1]"),
    ],
)
def test_arguments_are_an_object_and_its_text(written: Any, members: dict[str, Any], text: str) -> None:
    arguments = read_arguments(written)
    assert (dict(arguments), str(arguments)) == (members, text)
    assert "a" + arguments == "a" + text and arguments + "b" == text + "b"
