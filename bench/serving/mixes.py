"""What the requests of a closed loop ask for beside their tokens: every engine that speaks vLLM's fields knows them."""

from dataclasses import dataclass, field
from typing import Any

PLAIN = "plain"
SCHEMA: dict[str, Any] = {
    "type": "array",
    "minItems": 200,
    "items": {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 20},
            "age": {"type": "integer", "minimum": 0, "maximum": 150},
            "tags": {"type": "array", "items": {"enum": ["new", "old", "loyal"]}, "maxItems": 3},
        },
        "required": ["name", "age", "tags"],
        "additionalProperties": False,
    },
}
"""More items than an answer has room for, so that its length is exact as without a schema."""


@dataclass(frozen=True, slots=True)
class Mix:
    name: str
    body: dict[str, Any] = field(default_factory=dict)
    """Fields that every request has."""


MIXES = {
    mix.name: mix
    for mix in (
        Mix(PLAIN),
        Mix("top_p", {"top_p": 0.95}),
        Mix("penalties", {"presence_penalty": 0.4, "frequency_penalty": 0.3, "repetition_penalty": 1.1}),
        Mix("logprobs", {"logprobs": 5}),
        Mix("json_schema", {"structured_outputs": {"json": SCHEMA}}),
    )
}
