"""Rules for Gemma's values, which are not JSON: keys without quotes, strings between tokens.

Of a schema's keywords those are held that say which values there are: `type`, `enum`, `const`, `anyOf`, `oneOf`,
`properties`, `required`, `items`, lengths and patterns of strings, and what numbers may be.
"""

import json
from typing import Any

from pagoda_server.dialog.formats.argument_rules import write_text
from pagoda_server.dialog.lark import Rules
from pagoda_server.dialog.schemas import (
    Schema,
    find_kinds,
    list_branches,
    list_properties,
    list_values,
    object_schema,
)
from pagoda_server.dialog.turn import Tool

LIMITS = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"})
STRING: Schema = {"type": "string"}


class ValueRules:
    """Writes the rules of one tool. Each part of its schema has one rule, so that a schema may refer to itself."""

    def __init__(self, rules: Rules, sign: str, tool: Tool) -> None:
        """`sign`: what stands around a string."""
        self._rules = rules
        self._sign = sign
        self._root = object_schema(tool)
        self._name = tool.name
        self._is_lenient = not tool.strict
        self._written: dict[int, tuple[str, Schema]] = {}
        """The rules by the identity of the part, and the part, so that nothing else ever has its identity."""

    def write_call(self) -> str:
        return f"{self._rules.literal(f'call:{self._name}{{')} {self._write_members(self._root)}"

    def _write(self, schema: Any) -> str:
        return f"({' | '.join(self._write_branch(branch) for branch in list_branches(schema, self._root))})"

    def _write_branch(self, schema: Schema) -> str:
        if values := list_values(schema):
            return f"({' | '.join(self._spell(value) for value in values)})"
        if id(schema) not in self._written:
            name = self._rules.reserve()
            self._written[id(schema)] = name, schema
            kinds = sorted(find_kinds(schema, self._root))
            self._rules.add(" | ".join(self._write_kind(kind, schema) for kind in kinds), name=name)
        return self._written[id(schema)][0]

    def _spell(self, value: Any) -> str:
        if not isinstance(value, str):
            return self._rules.plain(json.dumps(value))
        return f"{self._rules.literal(self._sign)} {self._rules.plain(value)} {self._rules.literal(self._sign)}"

    def _write_kind(self, kind: str, schema: Schema) -> str:
        literal = self._rules.literal
        match kind:
            case "string":
                return f"{literal(self._sign)} {self._rules.until(self._sign, text=write_text(schema))}"
            case "array":
                return f"{literal('[')} {self._write_items(schema.get('items', STRING))} {literal(']')}"
            case "object":
                return f"{literal('{')} {self._write_members(schema)} {literal('}')}"
            case _:
                limits = {key: value for key, value in schema.items() if key in LIMITS}
                return self._rules.add(self._rules.json({"type": kind, **limits}, is_lenient=self._is_lenient))

    def _write_items(self, items: Any) -> str:
        item = self._write(items)
        return f"({item} ({self._rules.literal(',')} {item})*)?"

    def _write_members(self, schema: Schema) -> str:
        members = [
            (f"{self._rules.plain(name + ':')} {self._write(one)}", is_required)
            for name, one, is_required in list_properties(schema)
        ]
        return self._rules.in_order(members, ",")
