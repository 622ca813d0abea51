"""What a client's schema becomes, and what is said of one that no grammar can follow."""

from typing import Any

import pytest

from pagoda_server.grammar.schema import MAX_DEPTH, MAX_ENUM, MAX_TEXT_CHARACTERS, MAX_VALUES, BadSchema, SchemaReader


def read(schema: Any, **more: Any) -> Any:
    return SchemaReader(schema, **more).read()


def nest(depth: int) -> Any:
    schema: Any = {}
    for _ in range(depth):
        schema = {"items": schema}
    return schema


@pytest.mark.parametrize(
    ("schema", "place", "said"),
    [
        ({"properties": {"a/b": {"not": {}}}}, "/properties/a~1b/not", "not is not supported"),
        ({"items": {"uniqueItems": True}}, "/items/uniqueItems", "remove it"),
        ({"anyOf": [{}, {"if": {}, "then": {}}]}, "/anyOf/1/if", "anyOf"),
        ({"$defs": {"x": {"type": "strin"}}}, "/$defs/x/type", "type must be one of array, boolean"),
        ({"properties": []}, "/properties", "properties must be an object of schemas"),
        ({"required": "a"}, "/required", "required must be a list of strings"),
        ({"minLength": -1}, "/minLength", "minLength must be a whole number"),
        ({"maxItems": 1.5}, "/maxItems", "maxItems must be a whole number"),
        ({"minimum": "1"}, "/minimum", "minimum must be a number"),
        ({"multipleOf": 0}, "/multipleOf", "above 0"),
        ({"anyOf": {}}, "/anyOf", "anyOf must be a list of schemas"),
        ({"oneOf": []}, "/oneOf", "oneOf must be a list of schemas"),
        ({"enum": []}, "/enum", "at least one value"),
        ({"enum": list(range(MAX_ENUM + 1))}, "/enum", f"at most {MAX_ENUM}"),
        ({"const": "x" * (MAX_TEXT_CHARACTERS + 1)}, "/const", f"at most {MAX_TEXT_CHARACTERS}"),
        ({"pattern": "x" * (MAX_TEXT_CHARACTERS + 1)}, "/pattern", f"at most {MAX_TEXT_CHARACTERS}"),
        ({"$ref": "#/$defs/a"}, "/$ref", "there is no '$defs'"),
        ({"$ref": "https://e.example/s.json"}, "/$ref", "copy it into $defs"),
        ({"$ref": "#/title", "title": "x"}, "/$ref", "no schema"),
        ({"items": {"properties": {f"p{i}": {} for i in range(451)}}}, "/items", "451 of its properties are optional"),
        ({"items": 5}, "/items", "a schema is an object"),
        (nest(MAX_DEPTH + 1), "", "nested deeper"),
        ({"enum": [[0] * (MAX_VALUES // 4)] * 5}, "", "more than"),
        (False, "", "allows no answer"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(schema: Any, place: str, said: str) -> None:
    with pytest.raises(BadSchema) as caught:
        read(schema)
    assert caught.value.place == place and said in caught.value.message


@pytest.mark.parametrize(
    "idle",
    [
        {"uniqueItems": False},
        {"not": False},
        {"if": {}},
        {"then": {}, "else": {}},
        {"propertyNames": {"type": "string"}},
        {"dependentRequired": {}},
        {"unevaluatedProperties": True},
        {"minContains": 3},
        {"$schema": "https://e.example/unknown"},
        {"x-guidance": {"lenient": True}},
        {"format": "int32"},
    ],
)
def test_what_asks_for_nothing_is_left_out(idle: dict[str, Any]) -> None:
    assert read({"type": "object", **idle}) == {"type": "object"}


def test_a_known_format_and_unknown_words_stay() -> None:
    schema = {
        "type": "string",
        "format": "date",
        "nullable": True,
        "x-order": 3,
        "description": "d",
        "deprecated": True,
    }
    assert read(schema) == schema


def test_a_property_may_have_a_keywords_name() -> None:
    schema = {"properties": {"not": {"type": "string"}, "$ref": {"enum": ["not"]}}, "required": ["not"]}
    assert read(schema) == schema


def test_a_tuple_of_an_older_draft_becomes_the_newest_ones() -> None:
    old = {"items": [{"type": "string"}, {"type": "null"}], "additionalItems": False}
    assert read(old) == {"prefixItems": old["items"], "items": False}


CAT = {"type": "object", "properties": {"kind": {"const": "cat"}}, "required": ["kind"]}
DOG = {"type": "object", "properties": {"kind": {"enum": ["dog", "wolf"]}}, "required": ["kind"]}


@pytest.mark.parametrize(
    ("branches", "are_disjoint"),
    [
        ([{"$ref": "#/$defs/cat"}, {"$ref": "#/$defs/dog"}], True),
        ([{"$ref": "#/$defs/cat"}, {"$ref": "#/$defs/dog"}, {"type": "null"}], True),
        ([CAT, CAT], False),
        ([CAT, {"type": "object"}], False),
        ([CAT, {**DOG, "required": []}], False),
        ([{"type": "string"}, {"type": "integer"}], True),
        ([{"type": "number"}, {"type": "integer"}], False),
        ([{"type": ["string", "null"]}, {"type": "null"}], False),
        ([{"const": 1}, {"const": 1.0}], False),
        ([{"enum": ["a", 1]}, {"const": "b"}, {"type": "object"}], True),
        ([{"const": "a"}, {"type": "string"}], False),
        ([{"minimum": 1}, {"type": "string"}], False),
        ([{"$ref": "#/$defs/loop"}, {"type": "string"}], False),
    ],
)
def test_branches_that_exclude_each_other_are_alternatives(branches: Any, are_disjoint: bool) -> None:
    definitions = {"cat": CAT, "dog": DOG, "loop": {"$ref": "#/$defs/loop"}}
    schema = {"$defs": definitions, "properties": {"pet": {"oneOf": branches, "title": "pet"}}}
    assert ("anyOf" in read(schema)["properties"]["pet"]) is are_disjoint


def test_comparing_branches_takes_no_more_than_the_schema_is_large() -> None:
    words = {"enum": [str(number) for number in range(5000)]}
    branch = {"type": "object", "properties": {"a": {"$ref": "#/$defs/w"}}, "required": ["a"]}
    schema = {"$defs": {"w": words}, "allOf": [{"oneOf": [branch, branch, branch]} for _ in range(900)]}
    assert "oneOf" in read(schema)["allOf"][0]


def test_objects_can_be_closed() -> None:
    schema = {"properties": {"a": {"type": "object"}, "b": {"properties": {}, "additionalProperties": True}}}
    closed = read(schema, closes_objects=True)
    assert closed["additionalProperties"] is False
    assert closed["properties"] == schema["properties"]
