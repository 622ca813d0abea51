"""A model whose template knows no tools is told of them in words, and of earlier calls and their results too."""

from typing import Any

from pagoda_server.dialog.turn import Tool
from pagoda_server.http.told_tools import tell_tools
from pagoda_server.http.tool_schemas import read_arguments

TOOL = Tool("f", "Does f")
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": read_arguments('{"a": 1}')}}
USER: dict[str, Any] = {"role": "user", "content": "Hi"}
HISTORY: list[dict[str, Any]] = [
    USER,
    {"role": "assistant", "content": "Wait.", "tool_calls": [CALL, CALL]},
    {"role": "tool", "tool_call_id": "c", "name": "f", "content": "one"},
    {"role": "tool", "tool_call_id": "c", "content": "two"},
    USER,
]


def test_tools_stand_in_the_system_message() -> None:
    told = tell_tools([{"role": "system", "content": "Be short."}, USER], [TOOL], "EXAMPLE")
    assert [message["role"] for message in told] == ["system", "user"]
    assert told[0]["content"].startswith("Be short.\n\nYou can call functions.")
    assert '"name": "f", "description": "Does f"' in told[0]["content"] and "EXAMPLE" in told[0]["content"]
    assert tell_tools([USER], [TOOL], "EXAMPLE")[0]["role"] == "system"


def test_where_there_is_no_system_message_the_user_tells_them() -> None:
    told = tell_tools([USER], [TOOL], "EXAMPLE", has_system=False)
    assert [message["role"] for message in told] == ["user"] and told[0]["content"].endswith("\n\nHi")


def test_calls_and_results_are_turns_of_text() -> None:
    told = tell_tools(HISTORY, (), "EXAMPLE")
    assert [message["role"] for message in told] == ["user", "assistant", "user"]
    assert told[1] == {
        "role": "assistant",
        "content": "Wait.\n" + "\n".join(['{"name": "f", "arguments": {"a": 1}}'] * 2),
    }
    assert told[2]["content"] == "Result of f:\none\n\nResult of the function:\ntwo\n\nHi"
    assert tell_tools([USER, USER], (), "EXAMPLE") == [USER, USER], "what a client wrote stays as it is"
