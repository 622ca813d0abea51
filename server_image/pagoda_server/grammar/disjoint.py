"""Whether the branches of `oneOf` exclude each other, so that a grammar may take them for `anyOf`.

They do where their types or constant values differ, or where each requires one property with constant values of its
own: what unions with a discriminator look like. Each branch is looked at once, whatever their number.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from pagoda_server.grammar.keywords import TYPES
from pagoda_server.grammar.pointers import Unresolved, resolve

MAX_REFERENCES = 8
"""In a row."""
MAX_DISCRIMINATORS = 16
MAX_COMPARED = 200_000
"""Values, in one schema."""
UNCLEAR: Mapping[str, Any] = {}
Listed = Mapping[bytes, str]
"""Values, with their types."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is certain of a schema's instances."""

    types: frozenset[str]
    listed: Listed | None
    """All that it takes, where it lists that."""
    discriminators: Mapping[str, Listed]
    """The values of properties that an instance, if it is an object, must have and that list theirs."""

    @property
    def is_object(self) -> bool:
        return self.types == {"object"} and self.listed is None


class Comparison:
    """Compares branches of one schema's many `oneOf`, with a bound on all of it together: references may repeat."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._left = MAX_COMPARED
        self._listed: dict[int, Mapping[bytes, str] | None] = {}
        """The values that a schema lists, by the identity of that schema, which the root keeps."""

    def are_disjoint(self, branches: Sequence[Any]) -> bool:
        facts = [self._find_facts(_look_up(branch, self._root)) for branch in branches]
        objects = [one for one in facts if one.is_object]
        others = [one for one in facts if not one.is_object]
        return _exclude(others, has_objects=bool(objects)) and self._have_discriminator(objects)

    def _have_discriminator(self, objects: Sequence[Facts]) -> bool:
        """Says whether one property tells all of them apart."""
        if len(objects) < 2:
            return True
        shared = [name for name in objects[0].discriminators if all(name in one.discriminators for one in objects)]
        return any(self._are_apart([one.discriminators[name] for one in objects]) for name in shared)

    def _are_apart(self, listed: Sequence[Listed]) -> bool:
        seen: set[bytes] = set()
        for one in listed:
            self._left -= len(one) + 1
            if self._left < 0 or not seen.isdisjoint(one):
                return False
            seen.update(one)
        return True

    def _find_facts(self, schema: Mapping[str, Any]) -> Facts:
        listed = self._find_listed(schema)
        types = _find_types(schema) if listed is None else frozenset(listed.values())
        return Facts(types, listed, self._find_discriminators(schema))

    def _find_discriminators(self, schema: Mapping[str, Any]) -> dict[str, Listed]:
        required, properties = schema.get("required", ()), schema.get("properties", {})
        if not isinstance(required, list) or not isinstance(properties, dict):
            return {}
        found: dict[str, Listed] = {}
        for name in required[:MAX_DISCRIMINATORS]:
            listed = self._find_listed(_look_up(properties.get(name), self._root)) if isinstance(name, str) else None
            if listed is not None:
                found[name] = listed
        return found

    def _find_listed(self, schema: Mapping[str, Any]) -> Listed | None:
        if id(schema) not in self._listed:
            values = _find_values(schema)
            self._listed[id(schema)] = None if values is None else {_key(one): _name_type(one) for one in values}
        return self._listed[id(schema)]


def _exclude(facts: Iterable[Facts], *, has_objects: bool) -> bool:
    """Says whether no type is taken twice, nor a value, nor both a type and a value of it."""
    whole, listed, values = {"object"} if has_objects else set[str](), set[str](), set[bytes]()
    for one in facts:
        if one.listed is None:
            if whole & one.types or listed & one.types:
                return False
            whole |= one.types
        else:
            if not values.isdisjoint(one.listed) or whole & one.types:
                return False
            values.update(one.listed)
            listed |= one.types
    return True


def _look_up(schema: Any, root: Any) -> Mapping[str, Any]:
    """Returns the schema, or the one that it refers to; `UNCLEAR` where nothing is certain."""
    for _ in range(MAX_REFERENCES):
        if not isinstance(schema, dict):
            return UNCLEAR
        reference = schema.get("$ref")
        if reference is None:
            return schema
        if not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/")):
            return UNCLEAR
        try:
            schema = resolve(root, reference)
        except Unresolved:
            return UNCLEAR
    return UNCLEAR


def _find_types(schema: Mapping[str, Any]) -> frozenset[str]:
    found = schema.get("type")
    types = found if isinstance(found, list) else [found]
    known = {one for one in types if isinstance(one, str)}
    if not known or not known <= TYPES:
        return TYPES - {"integer"}
    return frozenset("number" if one == "integer" else one for one in known)


def _find_values(schema: Mapping[str, Any]) -> list[Any] | None:
    if "const" in schema:
        return [schema["const"]]
    values = schema.get("enum")
    return values if isinstance(values, list) else None


def _name_type(value: Any) -> str:
    names = {bool: "boolean", int: "number", float: "number", str: "string", list: "array", dict: "object"}
    return names.get(type(value), "null")


def _key(value: Any) -> bytes:
    """Returns the same bytes for equal values. NB: to JSON Schema, 1 and 1.0 are equal."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    return msgspec.json.encode(value, order="deterministic")
