"""What is read of a tool's schema: types through references and unions, and parts that stand elsewhere."""

from typing import Any

import pytest

from pagoda_server.dialog.definitions import Definitions
from pagoda_server.dialog.schemas import ANY, MAX_BRANCHES, find_argument_kinds, find_kinds, follow, list_properties
from pagoda_server.dialog.turn import Tool

ROOT: dict[str, Any] = {
    "properties": {"a/b": {"type": "integer"}, "list": {"items": [{"type": "null"}]}},
    "$defs": {
        "text": {"type": "string"},
        "either": {"anyOf": [{"$ref": "#/$defs/text"}, {"oneOf": [{"type": "boolean"}, {"$ref": "#/$defs/either"}]}]},
        "loop": {"$ref": "#/$defs/loop"},
    },
}


@pytest.mark.parametrize(
    ("schema", "kinds"),
    [
        ({"type": "string"}, {"string"}),
        ({"type": ["integer", "null", "strange"]}, {"integer", "null"}),
        ({"enum": ["a", 1, 2.5, None, True, [], {}]}, ANY),
        ({"const": 1}, {"integer"}),
        ({"$ref": "#/$defs/either"}, {"string", "boolean"}),
        ({"$ref": "#/properties/a~1b"}, {"integer"}),
        ({"$ref": "#/properties/list/items/0"}, {"null"}),
        ({"$ref": "#/$defs/loop"}, ANY),
        ({"$ref": "#/nowhere"}, ANY),
        ({}, ANY),
        (True, ANY),
        ({"type": 7}, ANY),
        ({"anyOf": "text"}, ANY),
        ({"anyOf": [{"type": "string"}] * MAX_BRANCHES}, ANY),
    ],
)
def test_the_types_of_a_value_are_found(schema: Any, kinds: set[str]) -> None:
    assert find_kinds(schema, ROOT) == kinds


def test_nobody_says_what_an_unknown_argument_is() -> None:
    tool = Tool("f", parameters={"properties": {"a": {"type": "string"}}})
    assert find_argument_kinds([tool], "f", "a") == {"string"}
    assert find_argument_kinds([tool], "f", "b") == ANY
    assert find_argument_kinds([tool], "g", "a") == ANY
    assert find_argument_kinds([Tool("f", parameters={"properties": [1]})], "f", "a") == ANY


def test_what_is_required_is_an_argument_even_if_it_is_not_described() -> None:
    schema = {"properties": {"a": {"type": "string"}, "b": True}, "required": ["b", "c", 7]}
    assert list(list_properties(schema)) == [("a", {"type": "string"}, False), ("b", {}, True), ("c", {}, True)]


def test_a_part_takes_along_what_it_refers_to_and_nothing_else() -> None:
    root = {
        "$defs": {
            "node": {"properties": {"next": {"$ref": "#/$defs/node"}, "leaf": {"$ref": "#/$defs/leaf"}}},
            "leaf": {"type": "integer"},
            "unused": {"type": "string"},
        }
    }
    definitions = Definitions(root)
    moved = definitions.move({"$ref": "#/$defs/node", "default": {"$ref": "#/$defs/leaf"}})
    assert moved == {"$ref": "#/$defs/0", "default": {"$ref": "#/$defs/leaf"}}
    assert definitions.gather() == {
        "$defs": {
            "0": {"properties": {"next": {"$ref": "#/$defs/0"}, "leaf": {"$ref": "#/$defs/1"}}},
            "1": {"type": "integer"},
        }
    }


def test_names_of_properties_are_no_keywords_where_a_part_moves() -> None:
    part = {"properties": {"$defs": {"$ref": "#/$defs/a"}, "enum": {"$ref": "#/$defs/a"}}}
    definitions = Definitions({"$defs": {"a": {"type": "null"}}})
    assert definitions.move(part) == {"properties": {"$defs": {"$ref": "#/$defs/0"}, "enum": {"$ref": "#/$defs/0"}}}


def test_a_reference_that_leads_nowhere_stays_for_the_compiler_to_refuse() -> None:
    definitions = Definitions({})
    assert definitions.move({"$ref": "#/$defs/a"}) == {"$ref": "#/$defs/a"}
    assert definitions.gather() == {}
    assert follow("#/a/b", {"a": 1}) is None


def test_a_long_chain_of_references_is_followed_without_recursion() -> None:
    root = {"$defs": {str(at): {"$ref": f"#/$defs/{at + 1}"} for at in range(5_000)} | {"5000": {"type": "null"}}}
    definitions = Definitions(root)
    definitions.move({"$ref": "#/$defs/0"})
    assert len(definitions.gather()["$defs"]) == 5_001
