"""A refused ModelDeployment in the YAML's words: the field, what it must be, what it is, and the fix.

Where a name is not known, the nearest that is known there is proposed; the names are those of the CRD's own schema.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

from pydantic import ValidationError

from pagoda_cli.secret import shorten
from pagoda_cli.text import one_line, suggest
from pagoda_operator.api.crd import build_crd

MAX_ERRORS = 20
INDENT = "write its fields below it, indented"
METADATA_FIELDS: Mapping[str, Any] = {"name": {}, "namespace": {}, "labels": {}, "annotations": {}}

Schema = Mapping[str, Any]
Details = Mapping[str, Any]

NUMBER, TEXT, SWITCH = "must be a whole number", "must be text", "must be true or false"
PROBLEMS: Mapping[str, Callable[[Details], str]] = {
    "missing": lambda _: "is missing: add it",
    "int_type": lambda _: NUMBER,
    "int_from_float": lambda _: NUMBER,
    "float_type": lambda _: "must be a number",
    "bool_type": lambda _: SWITCH,
    "string_type": lambda _: f"{TEXT}: write it in quotes",
    "list_type": lambda _: "must be a list: begin each item with '- '",
    "dict_type": lambda _: f"must be a mapping: {INDENT}",
    "model_type": lambda _: f"must be a mapping: {INDENT}",
    "literal_error": lambda details: f"must be {details['expected']}",
    "greater_than": lambda details: f"must be above {details['gt']}",
    "greater_than_equal": lambda details: f"must be at least {details['ge']}",
    "less_than": lambda details: f"must be below {details['lt']}",
    "less_than_equal": lambda details: f"must be at most {details['le']}",
    "string_too_long": lambda details: f"may have at most {details['max_length']} characters",
    "string_too_short": lambda details: f"must have at least {details['min_length']} characters",
    "too_long": lambda details: f"may have at most {details['max_length']} entries",
    "too_short": lambda details: f"must have at least {details['min_length']} entries",
    "string_pattern_mismatch": lambda details: f"must match {details['pattern']}",
}
INT_OR_PERCENT = "must be a whole number from 0 on, or a percentage of at most 100%"


def explain_errors(name: str, error: ValidationError) -> list[str]:
    """Returns a line for each error, `file: field: what is wrong (got VALUE): fix`, of at most MAX_ERRORS."""
    lines = list(dict.fromkeys(one_line(f"{name}: {line}") for line in _explain(error, ())))
    return lines if len(lines) <= MAX_ERRORS else [*lines[:MAX_ERRORS], f"{name}: {len(lines) - MAX_ERRORS} more"]


def propose(word: str, known: Mapping[str, Any], inside: str = "") -> str:
    """Returns the fix for a name that is not known: the nearest one, or where the same name is known."""
    if (near := suggest(word, known)) is not None:
        return f"did you mean {near}?"
    elsewhere = next((path for path in _list_paths() if path.rpartition(".")[2] == word), None)
    if elsewhere is not None and elsewhere != f"{inside}.{word}":
        return f"did you mean {elsewhere}?"
    return "remove it or correct its name"


def find_nulls(found: Any, schema: Schema | None = None, path: str = "") -> Iterator[str]:
    """Yields a line for each field without a value, which the API server refuses where the field has no default."""
    schema = _root() if schema is None else schema
    if isinstance(found, list):
        for index, item in enumerate(found):
            yield from find_nulls(item, schema.get("items", {}), f"{path}[{index}]")
    if isinstance(found, dict):
        for name, value in found.items():
            known = schema.get("properties", {}).get(name) or schema.get("additionalProperties") or {}
            place = f"{path}.{name}" if path else str(name)
            if value is None and known and "default" not in known:
                yield one_line(f"{place}: has no value: give one, or remove it")
            yield from find_nulls(value, known, place)


def _explain(error: ValidationError, above: tuple[str | int, ...]) -> Iterator[str]:
    for item in error.errors(include_url=False):
        place, schema, is_union = _find_place((*above, *item["loc"]))
        details: Details = item.get("ctx", {})
        nested = details.get("error")
        if isinstance(nested, ValidationError):
            yield from _explain(nested, (*above, *item["loc"]))
        elif item["type"] == "value_error":
            yield from str(nested).split("; ")
        elif item["type"] == "extra_forbidden":
            inside, _, word = place.rpartition(".")
            yield f"{place}: no such field{_show(item['input'])}: {propose(word, schema.get('properties', {}), inside)}"
        else:
            problem = INT_OR_PERCENT if is_union else _describe(item["type"], details, item["input"]) or item["msg"]
            yield f"{place}: {_put_value(problem, item['input'])}"


def _describe(kind: str, details: Details, value: object) -> str:
    problem = PROBLEMS[kind](details) if kind in PROBLEMS else ""
    if problem in (NUMBER, SWITCH, "must be a number") and isinstance(value, str):
        return f"{problem}: write it without quotes" if _is_literal(value) else problem
    if kind == "literal_error" and isinstance(value, str):
        known = [word.strip("'") for word in details["expected"].replace(" or ", ", ").split(", ")]
        near = suggest(value, known)
        return f"{problem}: did you mean {near}?" if near is not None else problem
    return problem


def _is_literal(text: str) -> bool:
    return text in ("true", "false") or text.replace(".", "", 1).lstrip("-").isdecimal()


def _put_value(problem: str, value: object) -> str:
    """Puts the value between the problem and its fix."""
    what, separator, fix = problem.partition(": ")
    return f"{what}{_show(value)}{separator}{fix}"


def _show(value: object) -> str:
    if value is None:
        return " (got nothing)"
    if isinstance(value, bool):
        return f" (got {str(value).lower()})"
    return f" (got {shorten(value)})" if isinstance(value, str | int | float) else ""


def _find_place(location: tuple[str | int, ...]) -> tuple[str, Schema, bool]:
    """Returns the field's path, the schema of what it lies in, and whether pydantic tells the parts of a union.

    NB: for those the location goes on with names of its own.
    """
    schema: Schema = _root()
    inside, path = schema, ""
    for part in location:
        inside = schema
        if isinstance(part, int):
            path, schema = f"{path}[{part}]", schema.get("items", {})
            continue
        known = schema.get("properties", {}).get(part)
        if known is None and schema.get("x-kubernetes-int-or-string"):
            return path, inside, True
        path = f"{path}.{part[:80]}" if path else part[:80]
        schema = known if known is not None else schema.get("additionalProperties") or {}
    return path or "the document", inside, False


@cache
def _root() -> Schema:
    schema: dict[str, Any] = build_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["properties"]["metadata"]["properties"] = METADATA_FIELDS
    return schema


@cache
def _list_paths() -> tuple[str, ...]:
    return tuple(_walk(_root()["properties"]["spec"], "spec"))


def _walk(schema: Schema, path: str) -> Iterator[str]:
    for name, below in schema.get("properties", {}).items():
        yield f"{path}.{name}"
        yield from _walk(below, f"{path}.{name}")
