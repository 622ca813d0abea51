"""The base of all that is read from a request's body."""

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, model_validator

from pagoda_server.http.fields import AsksForNothing, drop_idle

FORM_TAGS = frozenset(
    {
        *("<text>", "<parts>", "<texts>", "<tokens>", "<token lists>", "<word>", "<tool>", "<allowed>"),
        *("<items>", "<message>", "<function_call>", "<function_call_output>", "<reasoning>", "<part>", "<refusal>"),
        *("<blocks>", "<text block>", "<tool_use>", "<tool_result>", "<thinking>", "<redacted_thinking>"),
    }
)
"""Members of a union, in the location of an error: no part of the field's name."""

NO_CONTENT, OTHER_ROLE = "no_content", "other_role"
"""The types of two validation errors; their context names the field, and the role that has it."""


class Strict(BaseModel):
    """Every field works, or asks for nothing, or is refused by its name."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)
    unbuilt: ClassVar[Mapping[str, AsksForNothing]] = {}

    @model_validator(mode="before")
    @classmethod
    def _drop_idle(cls, value: Any) -> Any:
        return drop_idle(value, cls.model_fields, cls.unbuilt) if isinstance(value, dict) else value
