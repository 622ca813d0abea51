"""The messages of a chat, as clients write them and as they send back what this server wrote."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from pagoda_server.http.fields import MESSAGE_FIELDS, PART_FIELDS, AsksForNothing, drop_idle

MAX_ITEMS = 4096
"""The maximum number of messages, and of one message's parts: more cost time even when they are empty."""
NO_CONTENT = "no_content"
FORM_TAGS = frozenset({"<text>", "<parts>", "<texts>", "<tokens>", "<token lists>"})
"""Members of a union, in the location of an error: no part of the field's name."""


class Strict(BaseModel):
    """Every field works, or asks for nothing, or is refused by its name."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)
    unbuilt: ClassVar[Mapping[str, AsksForNothing]] = {}

    @model_validator(mode="before")
    @classmethod
    def _drop_idle(cls, value: Any) -> Any:
        return drop_idle(value, cls.model_fields, cls.unbuilt) if isinstance(value, dict) else value


class TextPart(Strict):
    unbuilt = PART_FIELDS
    type: Literal["text"]
    text: str


def _find_content_form(value: Any) -> str:
    return "<parts>" if isinstance(value, list) else "<text>"


class Message(Strict):
    unbuilt = MESSAGE_FIELDS
    role: Literal["system", "developer", "user", "assistant"]
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

    @model_validator(mode="after")
    def _check_content(self) -> "Message":
        """Refuses a message without content; an assistant's may be null, as it is in an answer that said nothing."""
        if self.content is None and self.role != "assistant":
            missing = "content" not in self.model_fields_set
            raise PydanticCustomError("missing" if missing else NO_CONTENT, "no content", {"field": "content"})
        return self

    @property
    def is_prefix(self) -> bool:
        return bool(self.prefix or self.partial)

    @property
    def text(self) -> str:
        """Returns the content as one string, text parts joined by newlines: most templates know only strings."""
        if isinstance(self.content, list):
            return "\n".join(part.text for part in self.content)
        return self.content or ""

    def for_template(self) -> dict[str, str]:
        """Returns the message as templates expect it. NB: they know no `developer`."""
        name = {"name": self.name} if self.name else {}
        return {"role": "system" if self.role == "developer" else self.role, "content": self.text, **name}


Messages = Annotated[list[Message], Field(min_length=1, max_length=MAX_ITEMS, fail_fast=True)]
