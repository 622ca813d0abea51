"""The messages of Anthropic's API, made of blocks, and what they are as messages of a chat."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from pagoda_server.http.fields import always, only
from pagoda_server.http.messages import MAX_ITEMS
from pagoda_server.http.strict import OTHER_ROLE, Strict
from pagoda_server.http.tool_schemas import CalledName, CallId, read_arguments

BILLING = "x-anthropic-billing-header:"
"""Begins a block that a coding agent puts before its own, other in each request: the prefix cache would know none."""
HINTS = {"cache_control": always, "citations": only([])}


class TextBlock(Strict):
    unbuilt = HINTS
    type: Literal["text"]
    text: str


class UseBlock(Strict):
    unbuilt = {**HINTS, "caller": always}
    type: Literal["tool_use"]
    id: CallId
    name: CalledName
    input: dict[str, Any]


class ThinkingBlock(Strict):
    unbuilt = HINTS
    type: Literal["thinking"]
    thinking: str
    signature: str | None = None


class RedactedBlock(Strict):
    unbuilt = {**HINTS, "data": always}
    type: Literal["redacted_thinking"]


def _find_content_form(value: Any) -> str:
    return "<blocks>" if isinstance(value, list) else "<text>"


ResultContent = Annotated[
    Annotated[str, Tag("<text>")]
    | Annotated[list[TextBlock], Field(max_length=MAX_ITEMS, fail_fast=True), Tag("<blocks>")],
    Discriminator(_find_content_form),
]


class ResultBlock(Strict):
    unbuilt = HINTS
    type: Literal["tool_result"]
    tool_use_id: CallId
    content: ResultContent | None = None
    is_error: bool | None = None


KINDS = frozenset({"tool_use", "tool_result", "thinking", "redacted_thinking"})


def _find_kind(value: Any) -> str:
    kind = value.get("type") if isinstance(value, dict) else None
    return f"<{kind}>" if isinstance(kind, str) and kind in KINDS else "<text block>"


Block = Annotated[
    Annotated[TextBlock, Tag("<text block>")]
    | Annotated[UseBlock, Tag("<tool_use>")]
    | Annotated[ResultBlock, Tag("<tool_result>")]
    | Annotated[ThinkingBlock, Tag("<thinking>")]
    | Annotated[RedactedBlock, Tag("<redacted_thinking>")],
    Discriminator(_find_kind),
]
System = ResultContent


class MessageParam(Strict):
    role: Literal["user", "assistant", "system"]
    content: Annotated[
        Annotated[str, Tag("<text>")]
        | Annotated[list[Block], Field(max_length=MAX_ITEMS, fail_fast=True), Tag("<blocks>")],
        Discriminator(_find_content_form),
    ]

    @model_validator(mode="after")
    def _check_blocks(self) -> "MessageParam":
        """Refuses what only the other side can say."""
        blocks = () if isinstance(self.content, str) else self.content
        for block in blocks:
            role = "user" if isinstance(block, ResultBlock) else "assistant"
            if not isinstance(block, TextBlock) and self.role != role:
                raise PydanticCustomError(OTHER_ROLE, "other role", {"field": f"content: {block.type}", "role": role})
        return self


def join_text(content: "str | Sequence[TextBlock] | None") -> str:
    return content if isinstance(content, str) else "\n".join(block.text for block in content or ())


def build_messages(
    messages: Sequence[MessageParam], system: "str | Sequence[TextBlock] | None"
) -> list[dict[str, Any]]:
    told = system if isinstance(system, str) else [one for one in system or () if not one.text.startswith(BILLING)]
    head = [{"role": "system", "content": join_text(told)}] if told else []
    return [*head, *(built for message in messages for built in _build(message))]


def _build(message: MessageParam) -> Iterator[dict[str, Any]]:
    if isinstance(message.content, str):
        yield {"role": message.role, "content": message.content}
    elif message.role == "assistant":
        yield _build_assistant(message.content)
    else:
        yield from _build_user(message.role, message.content)


def _build_assistant(blocks: "Sequence[Block]") -> dict[str, Any]:
    text = join_text([block for block in blocks if isinstance(block, TextBlock)])
    thought = "\n".join(block.thinking for block in blocks if isinstance(block, ThinkingBlock))
    calls = [
        {"id": block.id, "type": "function", "function": {"name": block.name, "arguments": read_arguments(block.input)}}
        for block in blocks
        if isinstance(block, UseBlock)
    ]
    more: dict[str, Any] = {"reasoning_content": thought} if thought else {}
    more |= {"tool_calls": calls} if calls else {}
    return {"role": "assistant", "content": text or (None if calls else ""), **more}


def _build_user(role: str, blocks: "Sequence[Block]") -> Iterator[dict[str, Any]]:
    """Yields the results of calls, each a message, and the texts between them."""
    texts: list[TextBlock] = []
    for block in blocks:
        if isinstance(block, ResultBlock):
            if texts:
                yield {"role": role, "content": join_text(texts)}
                texts = []
            yield {"role": "tool", "tool_call_id": block.tool_use_id, "content": _read_result(block)}
        elif isinstance(block, TextBlock):
            texts.append(block)
    if texts or not blocks:
        yield {"role": role, "content": join_text(texts)}


def _read_result(block: ResultBlock) -> str:
    return join_text(block.content) or ("error" if block.is_error else "")
