"""A few hundred JSON schemas of the kinds that clients send: written out, or built from templates."""

from collections.abc import Iterator
from itertools import product
from typing import Any

Schema = dict[str, Any]
DRAFT_4, DRAFT_7 = (f"http://json-schema.org/draft-0{number}/schema#" for number in (4, 7))
TEXT: Schema = {"type": "string", "maxLength": 12}
INTEGER: Schema = {"type": "integer", "minimum": -99, "maximum": 999}
SCALARS: dict[str, Schema] = {
    "text": TEXT,
    "integer": INTEGER,
    "number": {"type": "number", "minimum": -1.5, "maximum": 1000},
    "boolean": {"type": "boolean"},
    "null": {"type": "null"},
    "const text": {"const": 'a "quoted"\n\\ text é😀'},
    "const number": {"const": -7},
    "const list": {"const": [1, "a", None, {"b": []}]},
    "enum": {"enum": ["red", "green", "blue"]},
    "mixed enum": {"enum": [1, "1", None, True, 2.5, [1]]},
    "nullable enum": {"type": ["string", "null"], "enum": ["on", "off", None]},
    "types": {"type": ["integer", "boolean", "null"]},
    "nothing said": {"enum": [{}, []]},
}
FORMATS = [
    "date",
    "date-time",
    "duration",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "time",
    "uri",
    "uuid",
    "int32",
    "binary",
]
PATTERNS = [
    "^[A-Z]{2}[0-9]{4}$",
    "^(red|green)-[a-f0-9]{6}$",
    r"^\d{3}-\d{4}$",
    r"^\w{1,8}$",
    "^a",
    "^#[0-9A-Fa-f]{3,6}$",
    r"^[^\s\"\\]{1,10}$",
    r"^v\d+\.\d+\.\d+(-[a-z]+)?$",
    "^é{1,3}$",
]
BOUNDS: list[Schema] = [
    {"minimum": 0},
    {"maximum": 0},
    {"minimum": -5, "maximum": 5},
    {"exclusiveMinimum": 0, "exclusiveMaximum": 10},
    {"minimum": 100, "maximum": 100},
    {"minimum": 17, "maximum": 1234567},
    {"multipleOf": 5, "minimum": 0, "maximum": 1000},
    {"minimum": -1000, "maximum": -10},
]
FRACTIONS: list[Schema] = [
    {"minimum": 0, "maximum": 1},
    {"exclusiveMinimum": 0.5, "maximum": 2.25},
    {"minimum": -0.001, "maximum": 0.001},
    {"multipleOf": 0.25, "minimum": 0, "maximum": 100},
]
LENGTHS: list[Schema] = [{"minLength": 3, "maxLength": 3}, {"minLength": 1, "maxLength": 20}, {"maxLength": 0}]
COUNTS: list[Schema] = [
    {"minItems": 2, "maxItems": 2},
    {"minItems": 1, "maxItems": 4},
    {"maxItems": 0},
    {"maxItems": 3},
]


def closed(properties: dict[str, Any], required: list[str] | None = None, *, defs: Schema | None = None) -> Schema:
    """Returns an object of these properties, all of them required unless it is said which."""
    names = list(properties) if required is None else required
    definitions = {} if defs is None else {"$defs": defs}
    return {
        "type": "object",
        "properties": properties,
        "required": names,
        "additionalProperties": False,
        **definitions,
    }


CAT = closed({"kind": {"const": "cat"}, "lives": INTEGER})
DOG = closed({"kind": {"const": "dog"}, "breed": TEXT})
NODE = closed({"value": INTEGER, "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}})
TREE = closed({"name": TEXT, "children": {"type": "array", "items": {"$ref": "#/$defs/tree"}, "maxItems": 2}})
WRITTEN: dict[str, Schema] = {
    "union by discriminator": {
        "$defs": {"cat": CAT, "dog": DOG},
        "oneOf": [{"$ref": "#/$defs/cat"}, {"$ref": "#/$defs/dog"}],
        "discriminator": {"propertyName": "kind"},
    },
    "any of": {"anyOf": [CAT, DOG, {"type": "string", "maxLength": 3}]},
    "optional reference": closed({"pet": {"anyOf": [{"$ref": "#/$defs/cat"}, {"type": "null"}]}}, defs={"cat": CAT}),
    "list": {"$ref": "#/$defs/node", "$defs": {"node": NODE}},
    "tree": {"$ref": "#/$defs/tree", "$defs": {"tree": TREE}},
    "old definitions": {
        "definitions": {"a": INTEGER},
        "type": "array",
        "items": {"$ref": "#/definitions/a"},
        "maxItems": 3,
    },
    "reference into properties": closed({"a": INTEGER, "b": {"$ref": "#/properties/a"}}),
    "reference with escapes": {"$ref": "#/$defs/a~1b%20c", "$defs": {"a/b c": INTEGER}},
    "all of": {
        "allOf": [
            {"type": "object", "properties": {"a": INTEGER}, "required": ["a"]},
            {"type": "object", "properties": {"b": TEXT}, "required": ["b"]},
        ],
        "properties": {"a": True, "b": True},
        "maxProperties": 2,
    },
    "all of bounds": {"type": "integer", "allOf": [{"minimum": 3}, {"maximum": 8}]},
    "all of patterns": {"type": "string", "maxLength": 9, "allOf": [{"pattern": "^a"}, {"pattern": "b$"}]},
    "map": {"type": "object", "additionalProperties": INTEGER, "maxProperties": 3},
    "map of patterns": {
        "type": "object",
        "patternProperties": {"^x-[a-z]{1,5}$": INTEGER, "^[0-9]{1,3}$": TEXT},
        "additionalProperties": False,
        "maxProperties": 3,
    },
    "properties and a pattern": {**closed({"id": INTEGER}), "patternProperties": {"^x[a-z]{1,3}$": TEXT}},
    "tuple": {"type": "array", "prefixItems": [TEXT, INTEGER, {"type": "boolean"}], "items": False, "minItems": 3},
    "old tuple": {
        "$schema": DRAFT_7,
        "type": "array",
        "items": [TEXT, INTEGER],
        "additionalItems": False,
        "minItems": 2,
    },
    "tuple with a rest": {"type": "array", "prefixItems": [TEXT], "items": INTEGER, "minItems": 2, "maxItems": 4},
    "any json in a property": closed({"data": {}}),
    "true and false": closed({"a": True, "b": INTEGER}, required=["b"]),
    "forbidden property": {**closed({"a": INTEGER}), "properties": {"a": INTEGER, "b": False}},
    "draft 7": {"$schema": DRAFT_7, **closed({"a": TEXT})},
    "draft 4 bounds": {"$schema": DRAFT_4, "type": "integer", "minimum": 3, "exclusiveMinimum": True, "maximum": 9},
    "keywords as names": closed({"type": TEXT, "$ref": INTEGER, "properties": {"type": "null"}, "enum": TEXT}),
    "odd names": closed({"": INTEGER, "a b": INTEGER, 'q"q': INTEGER, "é😀": INTEGER, "a/b~c": INTEGER, "\n": INTEGER}),
    "nested arrays": {"type": "array", "items": {"type": "array", "items": INTEGER, "maxItems": 2}, "maxItems": 3},
    "matrix": {
        "type": "array",
        "minItems": 2,
        "maxItems": 2,
        "items": {"type": "array", "minItems": 2, "maxItems": 2, "items": INTEGER},
    },
    "function call": closed(
        {"name": {"enum": ["get_weather"]}, "arguments": closed({"city": TEXT, "unit": {"enum": ["c", "f"]}}, ["city"])}
    ),
    "calls": {
        "type": "array",
        "minItems": 1,
        "maxItems": 2,
        "items": {"anyOf": [closed({"f": {"const": "a"}}), closed({"f": {"const": "b"}, "x": INTEGER})]},
    },
    "extraction": closed(
        {
            "people": {
                "type": "array",
                "maxItems": 2,
                "items": closed({"name": TEXT, "age": {"anyOf": [INTEGER, {"type": "null"}]}}),
            }
        }
    ),
    "steps": closed(
        {
            "steps": {"type": "array", "maxItems": 2, "items": closed({"explanation": TEXT, "output": TEXT})},
            "final_answer": TEXT,
        }
    ),
    "openapi object": closed(
        {
            "id": {"type": "integer", "format": "int64", "minimum": 1, "maximum": 9999},
            "name": {**TEXT, "nullable": True, "example": "x"},
            "status": {"enum": ["available", "sold"], "description": "d", "deprecated": True},
        }
    ),
    "a default and a title": closed({"a": {**INTEGER, "default": 3, "title": "A", "examples": [1]}}),
    "closed by unevaluated": {
        **closed({"a": INTEGER}),
        "unevaluatedProperties": True,
        "propertyNames": {"type": "string"},
    },
    "at least one": {
        "type": "object",
        "properties": {"a": INTEGER, "b": INTEGER},
        "additionalProperties": False,
        "minProperties": 1,
    },
    "wide": closed(
        {f"property_{number}": INTEGER for number in range(60)}, [f"property_{number}" for number in range(0, 60, 3)]
    ),
    "large enum": {"enum": [f"value number {number}" for number in range(1500)]},
    "deep": {
        "$ref": "#/$defs/d0",
        "$defs": {**{f"d{n}": closed({"x": {"$ref": f"#/$defs/d{n + 1}"}}) for n in range(12)}, "d12": INTEGER},
    },
}


def build_schemas() -> Iterator[tuple[str, Schema]]:
    """Yields each with a name of its own."""
    yield from WRITTEN.items()
    yield from _build_values()
    for (name, inner), (shape, wrap) in product(list(_build_values()), WRAPS.items()):
        yield f"{shape} of {name}", wrap(inner)


WRAPS: dict[str, Any] = {
    "property": lambda inner: closed({"value": inner}),
    "optional": lambda inner: closed({"value": inner, "other": INTEGER}, ["other"]),
    "array": lambda inner: {"type": "array", "items": inner, "maxItems": 3},
    "nullable": lambda inner: {"anyOf": [inner, {"type": "null"}]},
    "reference": lambda inner: closed({"a": {"$ref": "#/$defs/x"}, "b": {"$ref": "#/$defs/x"}}, defs={"x": inner}),
    "map": lambda inner: {"type": "object", "additionalProperties": inner, "maxProperties": 2},
}


def _build_values() -> Iterator[tuple[str, Schema]]:
    yield from SCALARS.items()
    for name in FORMATS:
        yield f"format {name}", {"type": "string", "format": name, "maxLength": 40}
    for pattern in PATTERNS:
        yield f"pattern {pattern}", {"type": "string", "pattern": pattern, "maxLength": 40}
    for bounds in BOUNDS:
        yield f"integer {bounds}", {"type": "integer", **bounds}
    for bounds in FRACTIONS:
        yield f"number {bounds}", {"type": "number", **bounds}
    for lengths in LENGTHS:
        yield f"text {lengths}", {"type": "string", **lengths}
    for counts in COUNTS:
        yield f"array {counts}", {"type": "array", "items": INTEGER, **counts}
