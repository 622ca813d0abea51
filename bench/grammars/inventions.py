"""Random and broken forms of answers, and one in a few that is built to cost much (`attacks.py`)."""

import string
from collections.abc import Callable
from random import Random
from typing import Any

from bench.grammars.attacks import SIZES, attack_by_rules, attack_by_schema
from pagoda_server.dialog.turn import AnswerFormat, ChoiceFormat, GrammarFormat, JsonFormat, RegexFormat

TYPES = ["null", "boolean", "integer", "number", "string", "array", "object"]
PIECES = [*"ab.()|*+?^$\\é/", "\\d", "\\w", "[a-z]", "[^x]", "{3}", "{2,50}", "{1000}"]
RULES = ["start", "root", "lazy", *"abAB:|()*+?\n", "::=", "[a-z]", '"x"', "/y+/", "{2,9}", "%json", "{}", "<eos>"]
NUMBERS = [0, 1, -1, 2, 7, 0.1, 1e-9, 1e9, 2**53, 2**63, 1e300, 9_999_991, -0.0]
Invention = tuple[str, AnswerFormat]


def invent(choose: Random) -> Invention:
    """Returns a form and what kind it is."""
    kinds: list[Callable[[Random], Invention]] = [
        *[lambda r: ("random schema", JsonFormat(_random_schema(r, 4)))] * 6,
        *[lambda r: ("broken schema", JsonFormat(_break(r, _random_schema(r, 4))))] * 4,
        *[attack_by_schema] * 4,
        _regex,
        _regex,
        _rules,
        _rules,
        attack_by_rules,
        lambda r: ("choice", ChoiceFormat([_text(r) for _ in range(r.choice([1, 5, 200]))])),
    ]
    return choose.choice(kinds)(choose)


def _random_schema(r: Random, depth: int) -> Any:
    if depth == 0 or r.random() < 0.1:
        return r.choice([True, False, {}, {"type": r.choice(TYPES)}, {"const": _value(r, 2)}, {"$ref": "#/$defs/a"}])
    schema: dict[str, Any] = {}
    for _ in range(r.randint(1, 4)):
        name, value = r.choice(_MAKERS)
        schema[name] = value(r, depth - 1)
    if depth == 4 and r.random() < 0.6:
        schema["$defs"] = {"a": _random_schema(r, 2), "b": _random_schema(r, 2)}
    return schema


def _schemas(r: Random, depth: int) -> list[Any]:
    return [_random_schema(r, depth) for _ in range(r.randint(1, 4))]


def _named(r: Random, depth: int) -> dict[str, Any]:
    return {
        r.choice(["a", "b", "c", "", "é", "x y", "^a", ".*"]): _random_schema(r, depth) for _ in range(r.randint(0, 4))
    }


def _count(r: Random, depth: int) -> Any:
    return r.choice([0, 1, 2, 3, 10, 1000, 10**6, 10**18])


def _number(r: Random, depth: int) -> Any:
    return r.choice(NUMBERS)


_MAKERS: list[tuple[str, Callable[[Random, int], Any]]] = [
    ("type", lambda r, d: r.choice([r.choice(TYPES), r.sample(TYPES, 2)])),
    *[(name, _named) for name in ("properties", "properties", "patternProperties", "$defs")],
    *[(name, _schemas) for name in ("anyOf", "oneOf", "allOf", "prefixItems")],
    *[(name, _random_schema) for name in ("items", "additionalProperties", "not", "contains", "propertyNames")],
    *[(n, _count) for n in ("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties")],
    *[(n, _number) for n in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")],
    ("required", lambda r, d: r.sample(["a", "b", "c", "z"], 2)),
    ("enum", lambda r, d: [_value(r, 2) for _ in range(r.choice([1, 3, 50]))]),
    ("const", lambda r, d: _value(r, 3)),
    ("pattern", lambda r, d: _pattern(r)),
    ("format", lambda r, d: r.choice(["date", "uri", "ipv6", "nonsense"])),
    (
        "$ref",
        lambda r, d: r.choice(["#", "#/$defs/a", "#/$defs/b", "#/properties/a", "#/nowhere", "https://x.example"]),
    ),
    ("x-guidance", lambda r, d: {"lenient": True, "whitespace_pattern": ".*"}),
    ("uniqueItems", lambda r, d: r.random() < 0.5),
]


def _value(r: Random, depth: int) -> Any:
    if depth and r.random() < 0.3:
        return r.choice([[_value(r, depth - 1) for _ in range(3)], {_text(r): _value(r, depth - 1)}])
    return r.choice([None, True, False, r.choice(NUMBERS), _text(r), "x" * r.choice(SIZES)])


def _text(r: Random) -> str:
    return "".join(r.choice(string.printable + "é😀\u2028\0\x7f") for _ in range(r.randint(0, 12)))


def _break(r: Random, schema: Any) -> Any:
    """Returns the schema with some value in it put in place of another."""
    if not isinstance(schema, dict) or not schema or r.random() < 0.2:
        return r.choice([None, True, 3, -1, "a", "string", [], {}, 1e300, [{}], _value(r, 2)])
    name = r.choice(list(schema))
    return {**schema, name: _break(r, schema[name])}


def _pattern(r: Random) -> str:
    return "".join(r.choice(PIECES) for _ in range(r.choice([2, 8, 40])))


def _regex(r: Random) -> Invention:
    size = r.choice(SIZES)
    return "regular expression", RegexFormat(
        r.choice(
            [
                _pattern(r),
                "(" * size + "a" + ")" * size,
                "a?" * size + "a" * size,
                f"((a{{1,{size}}}){{1,{size}}}){{1,{size}}}",
                f"(.*(a|b).{{{size}}}){{3}}",
                "|".join(f"{number}x{r.random()}" for number in range(size)),
                "x" * size,
                ".*" * size,
            ]
        )
    )


def _rules(r: Random) -> Invention:
    words = r.choice(["start: ", "root ::= ", ""]) + " ".join(r.choice(RULES) for _ in range(r.choice([5, 20, 100])))
    return "random rules", GrammarFormat(words)
