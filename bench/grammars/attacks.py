"""Forms of answers that are built to cost much: to overflow a stack, to fill the memory, never to end."""

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from pagoda_server.dialog.turn import AnswerFormat, GrammarFormat, JsonFormat

SIZES = [3, 30, 300, 3000]
LARGE_PRIME = 9_999_991
Build = Callable[[int], Any]


def attack_by_schema(choose: Random) -> tuple[str, AnswerFormat]:
    name, build = choose.choice(list(SCHEMAS.items()))
    size = choose.choice(SIZES)
    return f"schema: {name} {size}", JsonFormat(build(size))


def attack_by_rules(choose: Random) -> tuple[str, AnswerFormat]:
    name, build = choose.choice(list(RULES.items()))
    size = choose.choice(SIZES)
    return f"rules: {name} {size}", GrammarFormat(build(size))


def _names(size: int) -> list[str]:
    return [f"p{number}" for number in range(size)]


def _ring(size: int) -> Iterator[tuple[str, dict[str, str]]]:
    """Yields names, each with a reference to the next; the last refers to the first."""
    names = _names(size)
    for at, name in enumerate(names):
        yield name, {"$ref": f"#/$defs/{names[(at + 1) % size]}"}


def _nest(size: int, wrap: Callable[[Any], Any]) -> Any:
    schema: Any = {}
    for _ in range(size):
        schema = wrap(schema)
    return schema


def _ring_of(wrap: Callable[[dict[str, str]], Any]) -> Build:
    return lambda size: {"$defs": {name: wrap(to_next) for name, to_next in _ring(size)}, "$ref": "#/$defs/p0"}


def _multiples(size: int) -> Any:
    return {"type": "integer", "allOf": [{"multipleOf": factor} for factor in (7, 11, 13, 17, 19, 23, size)]}


def _products(size: int) -> Any:
    parts: list[Any] = [
        {"anyOf": [{"properties": {f"{letter}{part}": {}}} for letter in "abcd"]} for part in range(min(size, 30))
    ]
    return {"allOf": parts}


def _patterns(size: int) -> Any:
    return {"type": "string", "allOf": [{"pattern": f".*{letter}.{{{at}}}"} for at, letter in enumerate("abcdefgh")]}


SCHEMAS: dict[str, Build] = {
    "optional properties": lambda size: {"properties": {name: {"type": "string"} for name in _names(size)}},
    "required properties": lambda size: {"properties": {name: {} for name in _names(size)}, "required": _names(size)},
    "any of objects": lambda size: {"anyOf": [{"type": "object", "required": [name]} for name in _names(size)]},
    "one of objects": lambda size: {"oneOf": [{"properties": {name: {"const": name}}} for name in _names(size)]},
    "products": _products,
    "a large multiple": lambda size: {"type": "integer", "multipleOf": LARGE_PRIME + size},
    "many multiples": _multiples,
    "fractions": lambda size: {"type": "number", "multipleOf": 1 / size, "minimum": 1e-9, "maximum": 1e200},
    "a wide pattern": lambda size: {"type": "string", "pattern": f"(.*(a|b).{{{size}}}(c|d).{{{size}}}){{3}}"},
    "patterns at once": _patterns,
    "large counts": lambda size: {"type": "array", "minItems": size**5, "items": {"minLength": size**4}},
    "a doubling ring": _ring_of(lambda to_next: {"allOf": [to_next, to_next]}),
    "a ring of objects": _ring_of(lambda to_next: {"properties": {"x": to_next, "y": to_next}, "required": ["x"]}),
    "patterns of names": lambda size: {"patternProperties": {f"^.*{name}.*$": {} for name in _names(min(size, 40))}},
    "a long constant": lambda size: {"const": "x" * size * 3},
    "a large enum": lambda size: {"enum": ["x" * 50 + name for name in _names(size)]},
    "a large constant": lambda size: {"const": list(range(size * 4))},
    "deep arrays": lambda size: _nest(size, lambda inner: {"items": inner}),
    "deep objects": lambda size: _nest(size, lambda inner: {"properties": {"a": inner}, "required": ["a"]}),
    "deep branches": lambda size: _nest(size, lambda inner: {"anyOf": [inner, {"type": "array", "items": inner}]}),
}


def _chain(size: int, name: str) -> str:
    lines = [f"{name}{number}: {name}{number + 1}" for number in range(size)]
    return "\n".join([f"start: {name}0", *lines, f'{name}{size}: "x"'])


def _permutations(size: int) -> str:
    parts = [f'"{number}" p::set_bit({number}) %if bit_clear({number})' for number in range(min(size, 60))]
    return f"start: p::0\np::_ : {' | '.join(parts)}"


RULES: dict[str, Callable[[int], str]] = {
    "a chain of rules": lambda size: _chain(size, "a"),
    "a chain of terminals": lambda size: _chain(size, "A"),
    "ambiguity": lambda size: 'start: s\ns: s s s | s s | "a" | ""',
    "repetitions": lambda size: f'start: (("a"{{1,{size}}}){{1,{size}}}){{1,{size}}}',
    "deep groups": lambda size: f'start: {"(" * size}"a"{")" * size}',
    "deep groups in GBNF": lambda size: f'root ::= {"(" * size}"a"{")" * size}',
    "alternatives": lambda size: "start: " + " | ".join(f'"{number}" /[a-z]+{number}/' for number in range(size)),
    "a multiple inside": lambda size: f'start: %json {{"type": "integer", "multipleOf": {LARGE_PRIME + size}}}',
    "any token": lambda size: "start: <[*]>",
    "a stop": lambda size: 'start: a "b"\na[stop="x"]: /.*/',
    "permutations": _permutations,
}
