"""Rules for Gemma's values, which are not JSON: keys without quotes, strings between tokens.

Of a schema's keywords those are held that say which values there are: `type`, `enum`, `const`, `anyOf`, `oneOf`,
`properties`, `required`, `items`, lengths of strings, and what numbers may be.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pagoda_server.dialog.formats.schemas import object_schema, write_text
from pagoda_server.dialog.lark import Rules, Schema
from pagoda_server.dialog.turn import Tool
from pagoda_server.dialog.typed import find_kinds, follow

MAX_DEPTH = 6
"""Below it lists and objects are empty: a schema may refer to itself."""
STRING: Schema = {"type": "string"}


@dataclass(frozen=True, slots=True)
class ValueRules:
    rules: Rules
    sign: str
    """What stands around a string."""
    tool: Tool

    def write_call(self) -> str:
        head = self.rules.literal(f"call:{self.tool.name}{{")
        return f"{head} {self._write_members(object_schema(self.tool), 0)}"

    def _write(self, schema: Any, depth: int) -> str:
        schema = self._resolve(schema)
        branches = schema.get("anyOf") or schema.get("oneOf")
        values = schema["enum"] if "enum" in schema else [schema["const"]] if "const" in schema else []
        if branches and depth < MAX_DEPTH:
            parts = [self._write(branch, depth + 1) for branch in branches]
        elif values:
            parts = [self.rules.literal(self._spell(value)) for value in values]
        else:
            parts = [self._write_kind(kind, schema, depth) for kind in sorted(find_kinds(schema, schema))]
        return f"({' | '.join(parts)})"

    def _resolve(self, schema: Any) -> Schema:
        for _ in range(MAX_DEPTH):
            if not isinstance(schema, Mapping) or not isinstance(schema.get("$ref"), str):
                break
            schema = follow(schema["$ref"], self.tool.parameters)
        return schema if isinstance(schema, Mapping) else {}

    def _spell(self, value: Any) -> str:
        return f"{self.sign}{value}{self.sign}" if isinstance(value, str) else json.dumps(value)

    def _write_kind(self, kind: str, schema: Schema, depth: int) -> str:
        match kind:
            case "string":
                return f"{self.rules.literal(self.sign)} {self.rules.until(self.sign, text=write_text(schema))}"
            case "array":
                inside = self._write_items(schema.get("items", STRING), depth) if depth < MAX_DEPTH else ""
                return f"{self.rules.literal('[')} {inside} {self.rules.literal(']')}"
            case "object":
                inside = self._write_members(schema, depth) if depth < MAX_DEPTH else ""
                return f"{self.rules.literal('{')} {inside} {self.rules.literal('}')}"
            case _:
                return self.rules.add(self.rules.json({**schema, "type": kind}, is_lenient=not self.tool.strict))

    def _write_items(self, items: Any, depth: int) -> str:
        item = self.rules.add(self._write(items, depth + 1))
        return f"({item} ({self.rules.literal(',')} {item})*)?"

    def _write_members(self, schema: Schema, depth: int) -> str:
        required = schema.get("required") or []
        properties: dict[str, Any] = {name: {} for name in required} | dict(schema.get("properties") or {})
        members = [
            (f"{self.rules.literal(name + ':')} {self._write(one, depth + 1)}", name in required)
            for name, one in properties.items()
        ]
        return self.rules.in_order(members, ",")
