"""Tools for a model whose template knows none: they are told in words, and so are earlier calls and their results."""

import json
from collections.abc import Sequence
from typing import Any

from pagoda_server.dialog.turn import Tool
from pagoda_server.http.tool_schemas import describe_tool


def tell_tools(
    messages: Sequence[dict[str, Any]], tools: Sequence[Tool], example: str, *, has_system: bool = True
) -> list[dict[str, Any]]:
    """Returns the messages with the tools told, and no message or field that has to do with calls.

    `has_system`: the template takes a system message; else the first message of the user tells them.
    """
    told = _join([_tell_message(message) for message in messages])
    if not tools:
        return told
    words = _describe(tools, example)
    at = 0 if has_system else next((at for at, one in enumerate(told) if one["role"] == "user"), 0)
    role = "system" if has_system else "user"
    if at < len(told) and told[at]["role"] == role:
        parts = [told[at]["content"], words] if has_system else [words, told[at]["content"]]
        told[at] = {**told[at], "content": "\n\n".join(filter(None, parts))}
        return told
    return [{"role": role, "content": words}, *told]


def _join(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the messages with results joined to what the user says behind them: some templates want turns."""
    joined: list[dict[str, Any]] = []
    for message in messages:
        if joined and joined[-1].get("is_result") and message["role"] == "user":
            joined[-1] = {**joined[-1], "content": f"{joined[-1]['content']}\n\n{message['content']}"}
        else:
            joined.append(message)
    return [{name: value for name, value in message.items() if name != "is_result"} for message in joined]


def _describe(tools: Sequence[Tool], example: str) -> str:
    functions = "\n".join(json.dumps(describe_tool(tool)["function"], ensure_ascii=False) for tool in tools)
    return (
        "You can call functions. Each line here is the JSON schema of one:\n"
        f"{functions}\n"
        "To call one, answer with nothing but its name and its arguments, in this form:\n"
        f"{example}\n"
        "Its result comes in the next message. Answer in words where no function is of use."
    )


def _tell_message(message: dict[str, Any]) -> dict[str, Any]:
    told = {name: value for name, value in message.items() if name not in ("tool_calls", "tool_call_id")}
    if message["role"] == "tool":
        name = told.pop("name", None)
        result = f"Result of {name or 'the function'}:\n{message['content'] or ''}"
        return {**told, "role": "user", "content": result, "is_result": True}
    if "tool_calls" in message:
        calls = [
            json.dumps(
                {"name": call["function"]["name"], "arguments": call["function"]["arguments"]}, ensure_ascii=False
            )
            for call in message["tool_calls"]
        ]
        told["content"] = "\n".join([*([message["content"]] if message["content"] else []), *calls])
    return told
