"""What a tool's JSON schema says of its arguments, as far as a parser must know. Clients may write any JSON."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pagoda_server.dialog.turn import Tool

Schema = Mapping[str, Any]
Kinds = frozenset[str]
ANY: Kinds = frozenset({"string", "integer", "number", "boolean", "null", "object", "array"})
STRING: Kinds = frozenset({"string"})
MAX_BRANCHES = 256
"""The maximum number of schemas that are looked at for one value; of one with more anything is known to be possible."""


def object_schema(tool: Tool) -> dict[str, Any]:
    return {"type": "object", **tool.parameters}


def read_mapping(schema: Schema, key: str) -> Schema:
    value = schema.get(key)
    return value if isinstance(value, Mapping) else {}


def read_list(schema: Schema, key: str) -> Sequence[Any]:
    value = schema.get(key)
    return value if isinstance(value, list | tuple) else ()


def list_properties(schema: Schema) -> Iterator[tuple[str, Schema, bool]]:
    """Yields each property's name, schema, and whether it is required."""
    required = [name for name in read_list(schema, "required") if isinstance(name, str)]
    properties = read_mapping(schema, "properties")
    for name in dict.fromkeys([*properties, *required]):
        one = properties.get(name)
        yield name, one if isinstance(one, Mapping) else {}, name in required


def list_values(schema: Schema) -> Sequence[Any]:
    """Returns the values that are listed, none where any may be."""
    return read_list(schema, "enum") or ([schema["const"]] if "const" in schema else [])


def list_branches(schema: Any, root: Schema) -> Sequence[Schema]:
    """Returns the schemas of which a value fits one: references followed, unions in unions taken apart."""
    waiting, branches = [schema], list[Schema]()
    seen: set[str] = set()
    for _ in range(MAX_BRANCHES):
        if not waiting:
            return branches or [{}]
        one = waiting.pop(0)
        one = one if isinstance(one, Mapping) else {}
        reference = one.get("$ref")
        union = read_list(one, "anyOf") or read_list(one, "oneOf")
        if isinstance(reference, str):
            waiting += [] if reference in seen else [follow(reference, root)]
            seen.add(reference)
        elif union:
            waiting += union
        else:
            branches.append(one)
    return [{}]


def follow(reference: str, root: Schema) -> Any:
    """Returns what a reference into the same schema refers to, None where that is nothing."""
    found: Any = root
    for part in filter(None, reference.removeprefix("#").split("/")):
        part = part.replace("~1", "/").replace("~0", "~")
        if isinstance(found, Mapping):
            found = found.get(part)
        elif isinstance(found, list) and part.isdecimal() and len(part) < 6 and int(part) < len(found):
            found = found[int(part)]
        else:
            return None
    return found


def find_kinds(schema: Any, root: Schema) -> Kinds:
    """Returns the JSON types that a value may have; all where the schema does not say."""
    return frozenset().union(*(_find_own_kinds(branch) for branch in list_branches(schema, root)))


def _find_own_kinds(schema: Schema) -> Kinds:
    kinds = schema.get("type")
    if isinstance(kinds, str):
        kinds = [kinds]
    elif not isinstance(kinds, list | tuple):
        kinds = [name_kind(value) for value in list_values(schema)]
    return frozenset(kind for kind in kinds if isinstance(kind, str)) & ANY or ANY


def name_kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"


def find_argument_kinds(tools: Sequence[Tool], name: str, key: str) -> Kinds:
    """Returns the JSON types that an argument of a function may have; all where nobody says."""
    tool = next((tool for tool in tools if tool.name == name), None)
    properties = read_mapping(tool.parameters, "properties") if tool else {}
    return find_kinds(properties[key], tool.parameters) if tool and key in properties else ANY
