"""The messages of a chat, as clients write them and as they send back what this server wrote."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from pagoda_server.http.fields import MESSAGE_FIELDS, PART_FIELDS
from pagoda_server.http.strict import NO_CONTENT, OTHER_ROLE, Strict
from pagoda_server.http.tool_schemas import CalledFunction, CallId, ToolCall, ToolCalls

MAX_ITEMS = 4096
"""The maximum number of messages, and of one message's parts: more cost time even when they are empty."""
MAY_HAVE_NO_CONTENT = frozenset({"assistant", "tool", "function"})
ROLE_FIELDS = {
    "tool_calls": "assistant",
    "function_call": "assistant",
    "reasoning": "assistant",
    "reasoning_content": "assistant",
    "refusal": "assistant",
    "tool_call_id": "tool",
}


class TextPart(Strict):
    unbuilt = PART_FIELDS
    type: Literal["text"]
    text: str

    @model_validator(mode="before")
    @classmethod
    def _read_refusal(cls, value: Any) -> Any:
        """Takes the part of an answer in which a model refused for the text that it is."""
        if isinstance(value, dict) and value.get("type") == "refusal" and "refusal" in value:
            return {"type": "text", "text": value["refusal"]}
        return value


def _find_content_form(value: Any) -> str:
    return "<parts>" if isinstance(value, list) else "<text>"


def _empty_as_none(value: Any) -> Any:
    return None if value == {} else value


class Message(Strict):
    unbuilt = MESSAGE_FIELDS
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: (
        Annotated[
            Annotated[str, Tag("<text>")]
            | Annotated[list[TextPart], Field(max_length=MAX_ITEMS, fail_fast=True), Tag("<parts>")],
            Discriminator(_find_content_form),
        ]
        | None
    ) = None
    name: Annotated[str, Field(max_length=1024)] | None = None
    prefix: bool | None = None
    partial: bool | None = None
    """As `prefix`: other servers' names for an assistant's message with which the answer goes on."""
    tool_calls: ToolCalls | None = None
    function_call: Annotated[CalledFunction | None, BeforeValidator(_empty_as_none)] = None
    tool_call_id: CallId | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None

    @model_validator(mode="after")
    def _check_content(self) -> "Message":
        """Refuses a message without content; an assistant's may be null, as it is in an answer that said nothing."""
        if self.content is None and self.role not in MAY_HAVE_NO_CONTENT:
            missing = "content" not in self.model_fields_set
            raise PydanticCustomError("missing" if missing else NO_CONTENT, "no content", {"field": "content"})
        return self

    @model_validator(mode="after")
    def _check_role(self) -> "Message":
        for field, role in ROLE_FIELDS.items():
            if self.role != role and getattr(self, field):
                raise PydanticCustomError(OTHER_ROLE, "other role", {"field": field, "role": role})
        return self

    @property
    def is_prefix(self) -> bool:
        return bool(self.prefix or self.partial)

    @property
    def text(self) -> str:
        """Returns the content as one string, text parts joined by newlines: most templates know only strings."""
        if isinstance(self.content, list):
            return "\n".join(part.text for part in self.content)
        return self.content or self.refusal or ""

    def for_template(self) -> dict[str, Any]:
        """Returns the message as templates expect it, before it is fitted to the model's own.

        NB: they know neither `developer` nor the old `function`.
        """
        role = {"developer": "system", "function": "tool"}.get(self.role, self.role)
        more: dict[str, Any] = {"name": self.name} if self.name else {}
        if self.tool_calls:
            more["tool_calls"] = [call.for_template() for call in self.tool_calls]
        elif self.function_call is not None:
            more["tool_calls"] = [ToolCall(function=self.function_call).for_template()]
        if reasoning := self.reasoning_content or self.reasoning:
            more["reasoning_content"] = reasoning
        if self.tool_call_id:
            more["tool_call_id"] = self.tool_call_id
        return {"role": role, "content": self.text or (None if more.get("tool_calls") else ""), **more}


Messages = Annotated[list[Message], Field(min_length=1, max_length=MAX_ITEMS, fail_fast=True)]
