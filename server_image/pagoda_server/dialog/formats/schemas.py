"""The schemas of tools' arguments, as grammars need them."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pagoda_server.dialog.json_text import quote
from pagoda_server.dialog.lark import TEXT, Rules, Schema
from pagoda_server.dialog.turn import Tool
from pagoda_server.dialog.typed import find_kinds, follow

ROOT = "tool"
DATA = frozenset({"const", "default", "enum", "examples"})


def object_schema(tool: Tool) -> dict[str, Any]:
    return {"type": "object", **tool.parameters}


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


def list_properties(tool: Tool) -> Iterator[tuple[str, Schema, bool]]:
    """Yields each argument's name, its schema, which stands for itself, and whether it is required."""
    schema = object_schema(tool)
    required = schema.get("required") or []
    properties: dict[str, Any] = {name: {} for name in required} | dict(schema.get("properties") or {})
    for name, one in properties.items():
        yield name, _stand_alone(one if isinstance(one, Mapping) else {}, schema), name in required


def _stand_alone(schema: Schema, root: Schema) -> Schema:
    moved = move_references(schema, f"#/$defs/{ROOT}")
    if moved == schema:
        return schema
    return {**moved, "$defs": {ROOT: move_references(root, f"#/$defs/{ROOT}")}}


def move_references(schema: Any, place: str) -> Any:
    """Returns the schema with its references to places in itself as they must be where it stands at another place."""
    if isinstance(schema, list):
        return [move_references(one, place) for one in schema]
    if not isinstance(schema, Mapping):
        return schema
    return {
        key: place + value.removeprefix("#")
        if key == "$ref" and isinstance(value, str) and value.startswith("#")
        else value
        if key in DATA
        else move_references(value, place)
        for key, value in schema.items()
    }


def write_text_value(rules: Rules, tool: Tool, schema: Schema, end: str) -> str:
    """Returns what matches a value that stands without quotes, and its end.

    NB: of a string's own keywords `enum`, `const`, `minLength` and `maxLength` are held; of others the parser's reader
    learns nothing, and JSON's rules for what is inside quotes do not fit what is outside.
    """
    kinds = find_kinds(schema, schema)
    if "string" not in kinds:
        return f"{rules.add(rules.json(schema, is_lenient=not tool.strict))} {rules.literal(end)}"
    resolved = follow(schema["$ref"], schema) if isinstance(schema.get("$ref"), str) else schema
    schema = resolved if isinstance(resolved, Mapping) else {}
    values = schema.get("enum") or ([schema["const"]] if "const" in schema else [])
    if values:
        spelled = (value if isinstance(value, str) else json.dumps(value) for value in values)
        return f"({' | '.join(rules.literal(value) for value in spelled)}) {rules.literal(end)}"
    return rules.until(end, text=write_text(schema))


def write_text(schema: Schema) -> str:
    """Returns the regular expression of a string without quotes."""
    least, most = schema.get("minLength", 0), schema.get("maxLength", "")
    return rf"/(.|\n){{{least},{most}}}/" if least or most != "" else TEXT
