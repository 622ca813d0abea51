"""Tools for a model whose template knows none: they are told in words, and so are earlier calls and their results."""

import json
from collections.abc import Sequence
from typing import Any

from pagoda_server.dialog.turn import Tool
from pagoda_server.http.tool_schemas import describe_tool


def tell_tools(messages: Sequence[dict[str, Any]], tools: Sequence[Tool], example: str) -> list[dict[str, Any]]:
    """Returns the messages with the tools in the system message, and no message or field that has to do with calls."""
    told = [_tell_message(message) for message in messages]
    if not tools:
        return told
    words = _describe(tools, example)
    if told and told[0]["role"] == "system":
        return [{**told[0], "content": f"{told[0]['content']}\n\n{words}"}, *told[1:]]
    return [{"role": "system", "content": words}, *told]


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
        return {**told, "role": "user", "content": f"Result of {name or 'the function'}:\n{message['content'] or ''}"}
    if "tool_calls" in message:
        calls = [
            json.dumps(
                {"name": call["function"]["name"], "arguments": call["function"]["arguments"]}, ensure_ascii=False
            )
            for call in message["tool_calls"]
        ]
        told["content"] = "\n".join([*([message["content"]] if message["content"] else []), *calls])
    return told
