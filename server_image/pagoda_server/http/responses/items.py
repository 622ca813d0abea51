"""The items of a conversation, as clients of the Responses API write them and as they send back what came."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from pagoda_server.http.fields import always, only
from pagoda_server.http.messages import MAX_ITEMS
from pagoda_server.http.strict import Strict
from pagoda_server.http.tool_schemas import CalledName, CallId, read_arguments

TOLD = {"id": always, "status": always, "phase": always, "created_by": always}
"""What this server or another one said of an item beside what it says."""


class TextPart(Strict):
    unbuilt = {"annotations": always, "logprobs": always, "prompt_cache_breakpoint": always}
    type: Literal["input_text", "output_text", "text", "summary_text", "reasoning_text"]
    text: str


class RefusalPart(Strict):
    type: Literal["refusal"]
    refusal: str

    @property
    def text(self) -> str:
        return self.refusal


Part = Annotated[
    Annotated[TextPart, Tag("<part>")] | Annotated[RefusalPart, Tag("<refusal>")],
    Discriminator(
        lambda value: "<refusal>" if isinstance(value, dict) and value.get("type") == "refusal" else "<part>"
    ),
]
Parts = Annotated[list[Part], Field(max_length=MAX_ITEMS, fail_fast=True)]
Text = Annotated[
    Annotated[str, Tag("<text>")] | Annotated[Parts, Tag("<parts>")],
    Discriminator(lambda value: "<parts>" if isinstance(value, list) else "<text>"),
]


def join_text(text: "str | Sequence[TextPart | RefusalPart] | None") -> str:
    return text if isinstance(text, str) else "\n".join(part.text for part in text or ())


class MessageItem(Strict):
    unbuilt = TOLD
    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: Text


class CallItem(Strict):
    unbuilt = {**TOLD, "namespace": only()}
    type: Literal["function_call"]
    call_id: CallId
    name: CalledName
    arguments: str


class ResultItem(Strict):
    unbuilt = TOLD
    type: Literal["function_call_output"]
    call_id: CallId
    output: Text


class ReasoningItem(Strict):
    unbuilt = {**TOLD, "encrypted_content": always}
    type: Literal["reasoning"]
    summary: Parts | None = None
    content: Parts | None = None

    @property
    def text(self) -> str:
        return join_text(self.content) or join_text(self.summary)


def _find_kind(value: Any) -> str:
    kind = value.get("type") if isinstance(value, dict) else None
    known = ("function_call", "function_call_output", "reasoning")
    return f"<{kind}>" if isinstance(kind, str) and kind in known else "<message>"


Item = Annotated[
    Annotated[MessageItem, Tag("<message>")]
    | Annotated[CallItem, Tag("<function_call>")]
    | Annotated[ResultItem, Tag("<function_call_output>")]
    | Annotated[ReasoningItem, Tag("<reasoning>")],
    Discriminator(_find_kind),
]
Items = Annotated[
    Annotated[str, Tag("<text>")]
    | Annotated[list[Item], Field(min_length=1, max_length=MAX_ITEMS, fail_fast=True), Tag("<items>")],
    Discriminator(lambda value: "<items>" if isinstance(value, list) else "<text>"),
]


def build_messages(items: "str | Sequence[Item]", instructions: str | None) -> list[dict[str, Any]]:
    """Returns the conversation as messages: what an assistant thought, said and called in a row is one of them."""
    head = [{"role": "system", "content": instructions}] if instructions else []
    if isinstance(items, str):
        return [*head, {"role": "user", "content": items}]
    return [*head, *_join_items(items)]


def _join_items(items: "Sequence[Item]") -> Iterator[dict[str, Any]]:
    said: dict[str, Any] | None = None
    for item in items:
        more = _read_assistant(item)
        if more is None:
            if said is not None:
                yield _close(said)
            said = None
            yield _read_other(item)
        elif said is None or not _goes_on(said, more):
            if said is not None:
                yield _close(said)
            said = more
        else:
            calls = [*said.get("tool_calls", ()), *more.get("tool_calls", ())]
            said = {**said, **more, **({"tool_calls": calls} if calls else {})}
    if said is not None:
        yield _close(said)


def _read_assistant(item: "Item") -> dict[str, Any] | None:
    match item:
        case MessageItem(role="assistant"):
            return {"role": "assistant", "content": join_text(item.content)}
        case ReasoningItem():
            return {"role": "assistant", "reasoning_content": item.text}
        case CallItem():
            function = {"name": item.name, "arguments": read_arguments(item.arguments)}
            call = {"id": item.call_id, "type": "function", "function": function}
            return {"role": "assistant", "tool_calls": [call]}
    return None


def _goes_on(said: dict[str, Any], more: dict[str, Any]) -> bool:
    """Returns whether an item is part of the message: reasoning comes first, text once, then calls."""
    if "reasoning_content" in more:
        return False
    return "tool_calls" in more or not ("content" in said or "tool_calls" in said)


def _close(said: dict[str, Any]) -> dict[str, Any]:
    return {"content": None if said.get("tool_calls") else "", **said}


def _read_other(item: "Item") -> dict[str, Any]:
    if isinstance(item, ResultItem):
        return {"role": "tool", "tool_call_id": item.call_id, "content": join_text(item.output)}
    assert isinstance(item, MessageItem)
    return {"role": "system" if item.role == "developer" else item.role, "content": join_text(item.content)}
