"""Arguments as grammars hold them: as JSON of the tool's schema, or one by one without quotes."""

import json
from collections.abc import Iterator
from typing import Any

from pagoda_server.dialog.json_text import quote
from pagoda_server.dialog.lark import TEXT, Rules
from pagoda_server.dialog.schemas import (
    Schema,
    find_kinds,
    list_branches,
    list_properties,
    list_values,
    object_schema,
)
from pagoda_server.dialog.turn import Tool

ROOT = "tool"
DATA = frozenset({"const", "default", "enum", "examples"})


def write_arguments(rules: Rules, tool: Tool) -> str:
    """Returns what matches the tool's arguments as JSON. What only a strict tool may ask for is left out elsewhere."""
    return rules.add(rules.json(object_schema(tool), is_lenient=not tool.strict))


def write_call_object(rules: Rules, tool: Tool, *, key: str = "arguments") -> str:
    """Returns what matches the tool's call as one JSON object, spelled as models are trained on it."""
    head = f'{{"name": {quote(tool.name)}, "{key}": '
    return f"{rules.literal(head)} {write_arguments(rules, tool)} {rules.literal('}')}"


def write_call_json(rules: Rules, tool: Tool, *, key: str) -> str:
    """Returns what matches the tool's call as JSON, to stand beside other JSON.

    NB: the grammar's lexer knows JSON from text at its first sign, so what may be either must all be JSON to it.
    """
    schema = {
        "type": "object",
        "properties": {"name": {"const": tool.name}, key: move_references(object_schema(tool), f"#/properties/{key}")},
        "required": ["name", key],
        "additionalProperties": False,
    }
    return rules.add(rules.json(schema, is_lenient=not tool.strict))


def list_arguments(tool: Tool) -> Iterator[tuple[str, Schema, bool]]:
    """Yields each argument's name, its schema, which stands for itself, and whether it is required."""
    root = object_schema(tool)
    for name, schema, is_required in list_properties(root):
        yield name, stand_alone(schema, root), is_required


def stand_alone(schema: Schema, root: Schema) -> Schema:
    """Returns a part of a schema with all that it refers to."""
    moved: Schema = move_references(schema, f"#/$defs/{ROOT}")
    if moved == schema:
        return schema
    return {**moved, "$defs": {ROOT: move_references(root, f"#/$defs/{ROOT}")}}


def move_references(schema: Any, place: str) -> Any:
    """Returns the schema with its references to places in itself as they must be where it stands at another place."""
    if isinstance(schema, list):
        return [move_references(one, place) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {key: _move_member(key, value, place) for key, value in schema.items()}


def _move_member(key: str, value: Any, place: str) -> Any:
    if key == "$ref" and isinstance(value, str) and value.startswith("#"):
        return place + value.removeprefix("#")
    return value if key in DATA else move_references(value, place)


def write_text_value(rules: Rules, tool: Tool, schema: Schema, end: str) -> str:
    """Returns what matches a value that stands without quotes, and its end.

    NB: of a string's own keywords `enum`, `const`, `minLength` and `maxLength` are held. JSON's rules for what is
    inside quotes do not fit what is outside.
    """
    if "string" not in find_kinds(schema, schema):
        return f"{rules.add(rules.json(schema, is_lenient=not tool.strict))} {rules.literal(end)}"
    parts = [_write_branch(rules, tool, branch, schema, end) for branch in list_branches(schema, schema)]
    return f"({' | '.join(parts)})"


def _write_branch(rules: Rules, tool: Tool, branch: Schema, root: Schema, end: str) -> str:
    if "string" not in find_kinds(branch, root):
        alone = {**branch, "$defs": root["$defs"]} if "$defs" in root else branch
        return f"{rules.add(rules.json(alone, is_lenient=not tool.strict))} {rules.literal(end)}"
    if values := list_values(branch):
        spelled = (value if isinstance(value, str) else json.dumps(value) for value in values)
        return f"({' | '.join(map(rules.plain, spelled))}) {rules.literal(end)}"
    return rules.until(end, text=write_text(branch))


def write_text(schema: Schema) -> str:
    """Returns the regular expression of a string without quotes."""
    least, most = (schema.get(key) for key in ("minLength", "maxLength"))
    least = least if type(least) is int else 0
    most = most if type(most) is int else ""
    return rf"/(.|\n){{{least},{most}}}/" if least or most != "" else TEXT
