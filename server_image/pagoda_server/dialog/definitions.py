"""Moves a part of a JSON schema to another place, together with all that it refers to."""

from typing import Any

from pagoda_server.dialog.schemas import Schema, follow

DEFINITIONS = "$defs"
DATA = frozenset({"const", "default", "enum", "examples"})
"""Members that hold values and no schemas."""

MAPS = frozenset({"properties", "patternProperties"})
"""Members whose own members are named by the author, perhaps like one of those above."""


class Definitions:
    """What moved parts of one schema refer to. They are gathered under `$defs` of the schema that the parts go to."""

    def __init__(self, root: Schema) -> None:
        self._root = root
        self._names: dict[str, str] = {}
        self._waiting: list[tuple[str, Any]] = []

    def move(self, schema: Any) -> Any:
        """Returns the part with its references as they must be. One that leads nowhere stays: the compiler says so."""
        if isinstance(schema, list):
            return [self.move(one) for one in schema]
        if not isinstance(schema, dict):
            return schema
        return {key: self._move_member(key, value) for key, value in schema.items() if key != DEFINITIONS}

    def gather(self) -> dict[str, Any]:
        """Returns the member that holds all definitions; nothing where there are none."""
        found: dict[str, Any] = {}
        while self._waiting:
            name, schema = self._waiting.pop()
            found[name] = self.move(schema)
        return {DEFINITIONS: found} if found else {}

    def _move_member(self, key: str, value: Any) -> Any:
        if key == "$ref" and isinstance(value, str) and value.startswith("#"):
            return self._name(value)
        if key in MAPS and isinstance(value, dict):
            return {name: self.move(one) for name, one in value.items()}
        return value if key in DATA else self.move(value)

    def _name(self, reference: str) -> str:
        if reference not in self._names:
            target = follow(reference, self._root)
            if target is None:
                return reference
            self._names[reference] = f"{len(self._names)}"
            self._waiting.append((self._names[reference], target))
        return f"#/{DEFINITIONS}/{self._names[reference]}"
