"""A small agent with two tools, by the official openai client; a program of its own, as a user would write it.

It lets the model call the tools until it answers, and prints each message of the conversation as a JSON line. What its
weather says is nowhere else, so an answer that says it has read the tool's result.
"""

import argparse
import json
from typing import Any

from openai import OpenAI

Message = dict[str, Any]
WEATHER = {
    "Paris": {"temperature": -3, "condition": "stormy"},
    "Rome": {"temperature": 31, "condition": "windy"},
}
TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Get the weather in a city.",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    },
    {
        "type": "function",
        "function": {
            "name": "add",
            "description": "Add two numbers.",
            "parameters": {
                "type": "object",
                "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
                "required": ["a", "b"],
            },
        },
    },
]
MAX_ROUNDS = 4


def use_tool(name: str, arguments: dict[str, Any]) -> str:
    if name == "get_weather":
        return json.dumps(WEATHER.get(arguments["city"], {"error": "unknown city"}))
    if name == "add":
        return str(arguments["a"] + arguments["b"])
    return json.dumps({"error": f"there is no tool {name}"})


def ask(client: OpenAI, model: str, messages: Any) -> tuple[Message, str | None]:
    """Returns the model's next message and why it ended."""
    answer = client.chat.completions.create(model=model, messages=messages, tools=TOOLS, temperature=0)
    return answer.choices[0].message.model_dump(exclude_none=True), answer.choices[0].finish_reason


def ask_streamed(client: OpenAI, model: str, messages: Any) -> tuple[Message, str | None]:
    """Returns the same, put together from pieces: a call's name comes once, its arguments bit by bit."""
    content, calls, reason = "", dict[int, Message](), None
    for chunk in client.chat.completions.create(
        model=model, messages=messages, tools=TOOLS, temperature=0, stream=True
    ):
        for choice in chunk.choices:
            content += choice.delta.content or ""
            reason = choice.finish_reason or reason
            for piece in choice.delta.tool_calls or ():
                assert piece.function is not None
                if piece.index not in calls:
                    function = {"name": piece.function.name, "arguments": ""}
                    calls[piece.index] = {"id": piece.id, "type": "function", "function": function}
                calls[piece.index]["function"]["arguments"] += piece.function.arguments or ""
    message: Message = {"role": "assistant"} | ({"content": content} if content else {})
    return message | ({"tool_calls": list(calls.values())} if calls else {}), reason


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base_url")
    parser.add_argument("question")
    parser.add_argument("--model", required=True)
    parser.add_argument("--stream", action="store_true")
    args = parser.parse_args()
    client = OpenAI(base_url=args.base_url, api_key="none", max_retries=0, timeout=120)
    messages: list[Message] = [{"role": "user", "content": args.question}]
    for _ in range(MAX_ROUNDS):
        message, reason = (ask_streamed if args.stream else ask)(client, args.model, messages)
        messages.append(message)
        print(json.dumps(message | {"finish_reason": reason}), flush=True)
        calls = message.get("tool_calls", [])
        for call in calls:
            result = use_tool(call["function"]["name"], json.loads(call["function"]["arguments"]))
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": result})
            print(json.dumps(messages[-1]), flush=True)
        if not calls:
            return
    raise SystemExit(f"no answer after {MAX_ROUNDS} rounds")


if __name__ == "__main__":
    main()
