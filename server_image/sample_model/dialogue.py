"""What a conversation of the corpus is made of, and its messages as a chat template is given them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

ANSWERABLE_KINDS = ("fact", "definition", "sum", "product", "list")
HELD_OUT_PERCENT = 8

Value = str | int | float
Message = dict[str, Any]


def is_held_out(key: str) -> bool:
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:4]) % 100 < HELD_OUT_PERCENT


@dataclass(frozen=True, slots=True)
class Parameter:
    name: str
    type: str = "string"
    choices: tuple[str, ...] = ()
    is_required: bool = True


@dataclass(frozen=True, slots=True)
class Tool:
    name: str
    description: str
    parameters: tuple[Parameter, ...] = ()

    @property
    def signature(self) -> str:
        return f"{self.name}({', '.join(parameter.name for parameter in self.parameters)})"

    def as_definition(self) -> dict[str, Any]:
        """Returns the tool as OpenAI's API has it."""
        properties = {
            one.name: {"type": one.type} | ({"enum": list(one.choices)} if one.choices else {})
            for one in self.parameters
        }
        required = [one.name for one in self.parameters if one.is_required]
        schema = {"type": "object", "properties": properties, "required": required}
        return {
            "type": "function",
            "function": {"name": self.name, "description": self.description, "parameters": schema},
        }


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a tool, and what came back."""

    name: str
    arguments: dict[str, Value]
    result: str

    def as_message_part(self) -> dict[str, Any]:
        return {"type": "function", "function": {"name": self.name, "arguments": self.arguments}}


@dataclass(frozen=True, slots=True)
class Exchange:
    """One question with its answer; `key` says what is asked and decides the split."""

    kind: str
    question: str
    answer: str
    key: str
    calls: tuple[Call, ...] = ()
    """What is called first; the answer then uses the results."""

    @property
    def is_held_out(self) -> bool:
        return self.kind in ANSWERABLE_KINDS and is_held_out(self.key)

    def list_messages(self) -> Iterator[Message]:
        yield {"role": "user", "content": self.question}
        if self.calls:
            yield {"role": "assistant", "content": "", "tool_calls": [call.as_message_part() for call in self.calls]}
            yield from ({"role": "tool", "content": call.result} for call in self.calls)
        yield {"role": "assistant", "content": self.answer}


@dataclass(frozen=True, slots=True)
class Conversation:
    system: str | None
    exchanges: tuple[Exchange, ...]
    tools: tuple[Tool, ...] = ()
    thought: str | None = None
    """What is thought before the last message, where thinking is on. What was thought earlier is not shown again."""
    ends_with_call: bool = False
    """The last message is the call of the last exchange, not its answer."""

    def list_messages(self) -> list[Message]:
        head = [{"role": "system", "content": self.system}] if self.system else []
        messages = head + [message for exchange in self.exchanges for message in exchange.list_messages()]
        return messages[: -1 - len(self.exchanges[-1].calls)] if self.ends_with_call else messages

    def list_tools(self) -> list[dict[str, Any]] | None:
        return [tool.as_definition() for tool in self.tools] or None
