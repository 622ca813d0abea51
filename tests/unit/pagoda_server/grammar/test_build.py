"""The grammar of each form: what it takes, what it does not, and what is refused before it is compiled."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pagoda_server.dialog.turn import AnswerFormat, ChoiceFormat, GrammarFormat, JsonFormat, RegexFormat
from pagoda_server.grammar.build import BadFormat, JsonOptions, build_grammar
from tests.doubles.grammars import END, allowed, answer, build_constraint, build_tiny_vocabulary


def takes(answer_format: AnswerFormat, text: str, **options: Any) -> bool:
    """Says whether the text is a whole answer."""
    constraint = build_constraint(build_grammar(answer_format, param="p", options=JsonOptions(**options)))
    for token in build_tiny_vocabulary().tokens.tokenize_str(text):
        constraint.accept(token)
    return constraint.error is None and END in allowed(constraint)


@pytest.mark.parametrize("text", ["{}", '{"a": 1}', '{\n  "a": [\n    1,\n    "é😀"\n  ]\n}', '{"a":{"b":null}}'])
def test_any_object_is_one(text: str) -> None:
    assert takes(JsonFormat(), text)


@pytest.mark.parametrize("text", ["", "1", "[]", "{", '{"a"}', '{"a": 1} ', "```json\n{}\n```", '{"a":\n\n\n\n1}'])
def test_what_is_no_object_or_goes_on_in_whitespace_is_none(text: str) -> None:
    assert not takes(JsonFormat(), text)


def test_whitespace_is_as_the_client_has_it() -> None:
    schema = JsonFormat({"properties": {"a": {"type": "integer"}}, "required": ["a"], "type": "object"})
    assert takes(schema, '{"a":1}', is_compact=True) and not takes(schema, '{"a": 1}', is_compact=True)
    assert takes(schema, '{"a":   1}', whitespace_pattern=" {3}") and takes(
        schema, '{"a":1}', whitespace_pattern=" {3}"
    )
    assert not takes(schema, '{"a": 1}', whitespace_pattern=" {3}")


def test_an_object_can_be_closed() -> None:
    schema = JsonFormat({"type": "object", "properties": {"a": {"type": "integer"}}})
    assert takes(schema, '{"a": 1, "b": 2}') and not takes(schema, '{"a": 1, "b": 2}', closes_objects=True)


@pytest.mark.parametrize(
    ("pattern", "whole", "other"),
    [
        ("[a-z]+@x", "ab@x", "ab@xy"),
        ("^ab$", "ab", "abc"),
        ("a/b\n", "a/b\n", "a/b"),
        (r"\d{2}", "12", "١٢"),
        ("a|b", "b", "ab"),
        ("(?i)yes", "YES", "no"),
    ],
)
def test_a_regular_expression_matches_all_of_the_answer(pattern: str, whole: str, other: str) -> None:
    assert takes(RegexFormat(pattern), whole) and not takes(RegexFormat(pattern), other)


@settings(max_examples=60)
@given(st.lists(st.text(max_size=8), min_size=1, max_size=5), st.integers())
def test_a_choice_is_one_of_the_choices(choices: list[str], seed: int) -> None:
    said = answer(build_constraint(build_grammar(ChoiceFormat(choices), param="p")), seed)
    assert said in choices


@pytest.mark.parametrize(
    "text",
    [
        'root ::= verb " " thing\nverb ::= "get" | "put"\nthing ::= [a-c]+\n',
        'start: VERB " " THING\nVERB: "get" | "put"\nTHING: /[a-c]+/\n',
        '?start: verb " " thing\nverb: "get" | "put"\nthing: "a" | "b" | thing thing\n',
    ],
)
def test_grammars_in_both_notations(text: str) -> None:
    assert takes(GrammarFormat(text), "put ab") and not takes(GrammarFormat(text), "put d")


def test_a_grammar_that_looks_like_the_compilers_own_list_is_read_as_rules() -> None:
    grammar = build_grammar(GrammarFormat('{"grammars": [{"json_schema": {}}]}'), param="p")
    assert json.loads(grammar.text)["grammars"][0].keys() == {"lark_grammar"}


@pytest.mark.parametrize(
    ("answer_format", "said"),
    [
        (JsonFormat({"properties": {"a": {"not": {}}}}), "p at /properties/a/not: not is not supported"),
        (JsonFormat({"enum": ["x" * 8000] * 40}), "at most 262144"),
        (ChoiceFormat([]), "p is an empty list"),
        (ChoiceFormat(["x" * 9000]), "p has a choice of 9000 characters"),
        (RegexFormat(""), "p is empty"),
        (RegexFormat("x" * 20_000), "p has 20000 characters; give at most 16384"),
        (GrammarFormat(" \n"), "p is empty"),
        (GrammarFormat("x" * 70_000), "p has 70000 characters; give at most 65536"),
    ],
)
def test_what_is_refused_at_once_says_why(answer_format: AnswerFormat, said: str) -> None:
    with pytest.raises(BadFormat, match=".*") as caught:
        build_grammar(answer_format, param="p")
    assert said in str(caught.value)


def test_a_whitespace_pattern_is_bounded() -> None:
    with pytest.raises(BadFormat, match="p has a whitespace pattern above 256 characters"):
        build_grammar(JsonFormat(), param="p", options=JsonOptions(whitespace_pattern=" " * 300))
