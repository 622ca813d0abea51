"""The schemas of tools' arguments, as grammars need them."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pagoda_server.dialog.json_text import quote
from pagoda_server.dialog.lark import Rules, Schema, escape_regex
from pagoda_server.dialog.turn import Tool
from pagoda_server.dialog.typed import find_kinds, follow


def object_schema(tool: Tool) -> dict[str, Any]:
    return {"type": "object", **tool.parameters}


def write_arguments(rules: Rules, tool: Tool) -> str:
    """Returns what matches the tool's arguments as JSON. What only a strict tool may ask for is left out elsewhere."""
    return rules.add(rules.json(object_schema(tool), is_lenient=not tool.strict))


def write_call_object(rules: Rules, tool: Tool, *, key: str = "arguments") -> str:
    """Returns what matches the tool's call as one JSON object, spelled as models are trained on it."""
    head = f'{{"name": {quote(tool.name)}, "{key}": '
    return f"{rules.literal(head)} {write_arguments(rules, tool)} {rules.literal('}')}"


def list_properties(tool: Tool) -> Iterator[tuple[str, Schema, bool]]:
    """Yields each argument's name, schema, and whether it is required. References into the tool's schema still hold."""
    schema = object_schema(tool)
    required = schema.get("required") or []
    shared: dict[str, Any] = {key: schema[key] for key in ("$defs", "definitions") if key in schema}
    properties: dict[str, Any] = {name: {} for name in required} | dict(schema.get("properties") or {})
    for name, one in properties.items():
        yield name, {**one, **shared} if isinstance(one, Mapping) else shared, name in required


def write_text_value(rules: Rules, tool: Tool, schema: Schema, end: str) -> str:
    """Returns what matches a value that stands without quotes, and its end.

    NB: of a string's own keywords `enum`, `const`, `minLength` and `maxLength` are held; of others the parser's reader
    learns nothing, and JSON's rules for what is inside quotes do not fit what is outside.
    """
    kinds = find_kinds(schema, tool.parameters)
    if "string" not in kinds:
        return f"{rules.add(rules.json(schema, is_lenient=not tool.strict))} {rules.literal(end)}"
    resolved = follow(schema["$ref"], tool.parameters) if isinstance(schema.get("$ref"), str) else schema
    schema = resolved if isinstance(resolved, Mapping) else {}
    values = schema.get("enum") or ([schema["const"]] if "const" in schema else [])
    if values:
        spelled = (value if isinstance(value, str) else json.dumps(value) for value in values)
        return f"({' | '.join(rules.literal(value) for value in spelled)}) {rules.literal(end)}"
    least, most = schema.get("minLength", 0), schema.get("maxLength", "")
    if not least and most == "":
        return rules.until(end)
    inside = escape_regex(end.strip())
    text = rules.add_terminal(rf"/(.|\n){{{least},{most}}}/ & ~/(.|\n)*{inside}(.|\n)*/")
    return rules.add(rules.add_terminal(f"{text} {rules.literal(end)}"))
