"""The keywords of JSON Schema: which hold a schema, what the others' values must be, and which no grammar can follow.

A keyword that asks for nothing, as `uniqueItems: false` does, is left out and not refused.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pagoda_server.dialog.lark import OPTIONS

Schema = Mapping[str, Any]
TYPES = frozenset({"null", "boolean", "integer", "number", "string", "array", "object"})
ONE_SCHEMA = frozenset({"additionalItems", "additionalProperties", "items"})
SCHEMA_LISTS = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
SCHEMA_MAPS = frozenset({"$defs", "definitions", "patternProperties", "properties"})
FORMATS = frozenset(
    ["date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "time", "uri", "uuid"],
)
"""The formats that are held to. Any other is an annotation, as the specification has it."""
DROPPED = frozenset({"$schema", "$dynamicAnchor", "$recursiveAnchor", "$vocabulary", OPTIONS})
"""What says nothing of an instance; `x-guidance` would set the compiler's own options."""


def is_count(value: Any) -> bool:
    return (isinstance(value, int) and not isinstance(value, bool) and value >= 0) or (
        isinstance(value, float) and value >= 0 and value.is_integer()
    )


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_bound(value: Any) -> bool:
    """Takes draft 4's true and false too."""
    return isinstance(value, int | float)


def _is_type(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(isinstance(one, str) and one in TYPES for one in value)
    return isinstance(value, str) and value in TYPES


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


@dataclass(frozen=True, slots=True)
class Form:
    """What a keyword's value must be."""

    takes: Callable[[Any], bool]
    wanted: str


_COUNT = Form(is_count, "a whole number from 0")
_NUMBER = Form(is_number, "a number")
_BOUND = Form(_is_bound, "a number")
_TEXT = Form(_is_text, "a string")
FORMS: Mapping[str, Form] = {
    "$anchor": _TEXT,
    "$id": _TEXT,
    "$ref": _TEXT,
    "enum": Form(lambda value: isinstance(value, list) and bool(value), "a list of at least one value"),
    "exclusiveMaximum": _BOUND,
    "exclusiveMinimum": _BOUND,
    "format": _TEXT,
    "maxItems": _COUNT,
    "maxLength": _COUNT,
    "maxProperties": _COUNT,
    "maximum": _NUMBER,
    "minItems": _COUNT,
    "minLength": _COUNT,
    "minProperties": _COUNT,
    "minimum": _NUMBER,
    "multipleOf": Form(lambda value: is_number(value) and value > 0, "a number above 0"),
    "pattern": _TEXT,
    "required": Form(_are_texts, "a list of strings"),
    "type": Form(_is_type, f"one of {', '.join(sorted(TYPES))}, or a list of these"),
}


@dataclass(frozen=True, slots=True)
class Unsupported:
    asks_for_nothing: Callable[[Any, Schema], bool]
    """Judges the value, and the schema that it stands in."""
    fix: str


def _is_free(value: Any, schema: Schema) -> bool:
    return value is True or bool(value == {})


def _is_empty(value: Any, schema: Schema) -> bool:
    return bool(value == {})


def _names_any(value: Any, schema: Schema) -> bool:
    """Says whether every property's name, which is a string, is taken."""
    return value is True or bool(value == {} or value == {"type": "string"})


def _without(*names: str) -> Callable[[Any, Schema], bool]:
    return lambda value, schema: not any(name in schema for name in names)


def _never(value: Any, schema: Schema) -> bool:
    return False


UNSUPPORTED: Mapping[str, Unsupported] = {
    "$dynamicRef": Unsupported(_never, "use $ref"),
    "$recursiveRef": Unsupported(_never, "use $ref"),
    "contains": Unsupported(_never, "remove it, or say what every item is with items"),
    "dependencies": Unsupported(_is_empty, "remove it, or give each case an object of its own in anyOf"),
    "dependentRequired": Unsupported(_is_empty, "remove it, or give each case an object of its own in anyOf"),
    "dependentSchemas": Unsupported(_is_empty, "remove it, or give each case an object of its own in anyOf"),
    "else": Unsupported(_without("if"), "give each case a schema of its own in anyOf"),
    "if": Unsupported(_without("then", "else"), "give each case a schema of its own in anyOf"),
    "maxContains": Unsupported(_without("contains"), "remove it"),
    "minContains": Unsupported(_without("contains"), "remove it"),
    "not": Unsupported(lambda value, schema: value is False, "remove it, or say what is allowed with enum or type"),
    "propertyNames": Unsupported(_names_any, "use patternProperties with additionalProperties: false"),
    "then": Unsupported(_without("if"), "give each case a schema of its own in anyOf"),
    "unevaluatedItems": Unsupported(_is_free, "use items"),
    "unevaluatedProperties": Unsupported(_is_free, "use additionalProperties"),
    "uniqueItems": Unsupported(lambda value, schema: value is False, "remove it"),
}
