"""Reads a client's JSON schema: what is wrong with it is said with its place, and the rest becomes what is compiled.

Nothing is compiled here, so this is bounded by the schema's size. What it returns is never laxer than what came in.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from pagoda_server.grammar.disjoint import Comparison
from pagoda_server.grammar.keywords import DROPPED, FORMATS, FORMS, ONE_SCHEMA, SCHEMA_LISTS, SCHEMA_MAPS, UNSUPPORTED
from pagoda_server.grammar.pointers import Unresolved, join_pointer, resolve

MAX_DEPTH = 96
"""Of objects and lists in each other. NB: the compiler's own limit is 128, of which a grammar takes some."""
MAX_VALUES = 50_000
MAX_ENUM = 10_000
MAX_BRANCHES = 1_000
MAX_PROPERTIES = 5_000
MAX_OPTIONAL = 450
"""Properties of one object that need not be there: any of them may come next, which the parser bounds too."""
MAX_TEXT_CHARACTERS = 8_192
"""Of one value of const or enum, and of a pattern: what follows such a text looks at all of it for each token."""


class BadSchema(ValueError):
    """`place` is a JSON pointer; "" is the whole schema."""

    def __init__(self, place: str, message: str) -> None:
        super().__init__(f"{place or 'it'}: {message}")
        self.place = place
        self.message = message


class SchemaReader:
    def __init__(self, root: Any, *, closes_objects: bool = False) -> None:
        """Closes objects: those that name properties have no others, unless they say so themselves."""
        check_size(root)
        self._root = root
        self._closes_objects = closes_objects
        self._comparison = Comparison(root)
        self._has_ids = any(isinstance(one, dict) and "$id" in one for one in _walk_values(root))

    def read(self) -> dict[str, Any]:
        """Returns the schema to compile. Raises `BadSchema`."""
        schema = self._read(self._root, "")
        if schema is False:
            raise BadSchema("", "it is false, which allows no answer at all; give an object")
        return {} if schema is True else schema

    def _read(self, schema: Any, place: str) -> Any:
        if isinstance(schema, bool):
            return schema
        if not isinstance(schema, dict):
            raise BadSchema(place, "a schema is an object, true or false")
        kept = {}
        for name, value in schema.items():
            if not self._is_idle(schema, name, value, place):
                kept[name] = self._read_keyword(name, value, join_pointer(place, name))
        return self._finish(kept, place)

    def _is_idle(self, schema: Mapping[str, Any], name: str, value: Any, place: str) -> bool:
        if name in DROPPED:
            return True
        if name == "format":
            return isinstance(value, str) and value not in FORMATS
        if name not in UNSUPPORTED:
            return False
        if not UNSUPPORTED[name].asks_for_nothing(value, schema):
            raise BadSchema(join_pointer(place, name), f"{name} is not supported; {UNSUPPORTED[name].fix}")
        return True

    def _read_keyword(self, name: str, value: Any, place: str) -> Any:
        if name in FORMS:
            return self._check_value(name, value, place)
        if name == "const":
            check_texts(value, place)
        if name in SCHEMA_LISTS or (name == "items" and isinstance(value, list)):
            return self._read_list(name, value, place)
        if name in SCHEMA_MAPS:
            return self._read_map(name, value, place)
        return self._read(value, place) if name in ONE_SCHEMA else value

    def _check_value(self, name: str, value: Any, place: str) -> Any:
        form = FORMS[name]
        if not form.takes(value):
            raise BadSchema(place, f"{name} must be {form.wanted}")
        if name == "enum":
            _check_count(place, name, len(value), MAX_ENUM)
            check_texts(value, place)
        elif name == "pattern":
            check_texts(value, place)
        elif name == "$ref":
            self._check_reference(value, place)
        return int(value) if form.wanted.startswith("a whole") else value

    def _read_list(self, name: str, value: Any, place: str) -> list[Any]:
        if not isinstance(value, list) or (not value and name != "prefixItems"):
            raise BadSchema(place, f"{name} must be a list of schemas")
        _check_count(place, name, len(value), MAX_PROPERTIES if name == "prefixItems" else MAX_BRANCHES)
        return [self._read(one, join_pointer(place, at)) for at, one in enumerate(value)]

    def _read_map(self, name: str, value: Any, place: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise BadSchema(place, f"{name} must be an object of schemas")
        _check_count(place, name, len(value), MAX_PROPERTIES)
        if name == "patternProperties":
            for pattern in value:
                check_texts(pattern, place)
        return {key: self._read(one, join_pointer(place, key)) for key, one in value.items()}

    def _check_reference(self, reference: str, place: str) -> None:
        if not reference.startswith("#"):
            if not self._has_ids:
                raise BadSchema(place, "it refers to another document, and none is fetched; copy it into $defs")
            return
        if reference == "#" or reference.startswith("#/"):
            try:
                target = resolve(self._root, reference)
            except Unresolved as error:
                raise BadSchema(place, str(error)) from error
            if not isinstance(target, dict | bool):
                raise BadSchema(place, "it refers to what is no schema")

    def _finish(self, schema: dict[str, Any], place: str) -> dict[str, Any]:
        optional = len(schema.get("properties", {}).keys() - set(schema.get("required", ())))
        if optional > MAX_OPTIONAL:
            fix = "make more of them required, or give it fewer"
            raise BadSchema(place, f"{optional} of its properties are optional, above {MAX_OPTIONAL}; {fix}")
        if isinstance(schema.get("items"), list):
            schema = _rename_tuple(schema)
        if "oneOf" in schema and "anyOf" not in schema and self._comparison.are_disjoint(schema["oneOf"]):
            schema = {"anyOf" if name == "oneOf" else name: value for name, value in schema.items()}
        if (
            self._closes_objects
            and "properties" in schema
            and not {"additionalProperties", "patternProperties"} & set(schema)
        ):
            schema = {**schema, "additionalProperties": False}
        return schema


def check_size(value: Any) -> None:
    """Raises `BadSchema` for what is too deep or has too many values to be read."""
    level, depth, count = [value], 0, 0
    while level:
        count += len(level)
        if count > MAX_VALUES:
            raise BadSchema("", f"it has more than {MAX_VALUES} values; give a smaller one")
        if depth > MAX_DEPTH:
            raise BadSchema("", f"it is nested deeper than {MAX_DEPTH} levels; move what is deep into $defs")
        depth += 1
        level = [child for one in level for child in _children(one)]


def check_texts(value: Any, place: str) -> None:
    for one in _walk_values(value):
        if isinstance(one, str) and len(one) > MAX_TEXT_CHARACTERS:
            raise BadSchema(place, f"it holds a text of {len(one)} characters; give at most {MAX_TEXT_CHARACTERS}")


def _check_count(place: str, name: str, count: int, maximum: int) -> None:
    if count > maximum:
        raise BadSchema(place, f"{name} has {count} members; give at most {maximum}")


def _rename_tuple(schema: dict[str, Any]) -> dict[str, Any]:
    """Returns a schema of draft 7 or before as the newest draft has it: the items of a tuple, then all others."""
    renamed = {"items": "prefixItems", "additionalItems": "items"}
    return {renamed.get(name, name): value for name, value in schema.items()}


def _children(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _walk_values(value: Any) -> Iterator[Any]:
    todo = [value]
    while todo:
        one = todo.pop()
        yield one
        if isinstance(one, dict):
            todo.extend(one)
        todo.extend(_children(one))
