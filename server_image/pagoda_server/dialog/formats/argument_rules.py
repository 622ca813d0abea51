"""Arguments as grammars hold them: as JSON of the tool's schema, or one by one without quotes."""

import json
import re
from collections.abc import Iterator
from typing import Any

from pagoda_server.dialog.definitions import Definitions
from pagoda_server.dialog.json_text import quote
from pagoda_server.dialog.lark import TEXT, Rules, write_regex
from pagoda_server.dialog.schemas import (
    Schema,
    find_kinds,
    list_branches,
    list_properties,
    list_values,
    object_schema,
)
from pagoda_server.dialog.turn import Tool

ANYTHING = r"(.|\n)*"
END_ANCHOR = re.compile(r"(?<!\\)(\\\\)*\$\Z")
PLACES = re.compile(r"\(\?[=!<]|\\[bB1-9]|(?<![\\\[])\^|(?<!\\)\$")
"""What looks at more than the next character."""


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
    root = object_schema(tool)
    definitions = Definitions(root)
    schema = {
        "type": "object",
        "properties": {"name": {"const": tool.name}, key: definitions.move(root)},
        "required": ["name", key],
        "additionalProperties": False,
    }
    return rules.add(rules.json({**schema, **definitions.gather()}, is_lenient=not tool.strict))


def list_arguments(tool: Tool) -> Iterator[tuple[str, Schema, bool]]:
    """Yields each argument's name, its schema, which stands for itself, and whether it is required."""
    root = object_schema(tool)
    for name, schema, is_required in list_properties(root):
        definitions = Definitions(root)
        moved = definitions.move(schema)
        yield name, {**moved, **definitions.gather()}, is_required


def write_text_value(rules: Rules, tool: Tool, schema: Schema, end: str) -> str:
    """Returns what matches a value that stands without quotes, and its end.

    NB: of a string's own keywords `enum`, `const`, `pattern` and lengths are held, `format` is not: JSON's rules for
    what is inside quotes do not fit what is outside.
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
    length = rf"/(.|\n){{{least},{most}}}/" if least or most != "" else TEXT
    pattern = write_pattern(schema.get("pattern"))
    return f"{length} & {pattern}" if pattern else length


def write_pattern(pattern: Any) -> str:
    """Returns the regular expression of strings in which the pattern is found, "" where a grammar cannot hold it.

    NB: grammars know no places such as `^`: only those that begin and end all of the pattern can be written.
    """
    if not isinstance(pattern, str) or not pattern:
        return ""
    starts, ends = pattern.startswith("^"), bool(END_ANCHOR.search(pattern))
    inside = pattern[1 if starts else 0 : -1 if ends else None]
    if PLACES.search(inside) or ((starts or ends) and "|" in inside):
        return ""
    return write_regex(f"{'' if starts else ANYTHING}({inside}){'' if ends else ANYTHING}")
