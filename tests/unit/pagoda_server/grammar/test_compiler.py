"""The real process that tries grammars, and what is made of its verdicts: hostile ones end nothing but themselves."""

import itertools
import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from pagoda_server.engine.constraint import FailedGrammar
from pagoda_server.grammar import cache as caching
from pagoda_server.grammar.attempt import OVERDUE
from pagoda_server.grammar.build import GBNF
from pagoda_server.grammar.cache import Cache, Compiled
from pagoda_server.grammar.compiler import MAX_COMPILING, Compiler, NoCompiler, open_compiler
from pagoda_server.grammar.limits import ENDLESS, OVERLAPPING, TOO_WIDE
from pagoda_server.grammar.matcher import GrammarConstraint
from pagoda_server.wire import Grammar
from tests.doubles.grammars import Results, allowed, answer, build_source, compile_now


@pytest.fixture(scope="module")
def compiler() -> Iterator[Compiler]:
    compiler = Compiler(build_source())
    yield compiler
    compiler.close()


def of_schema(schema: Any) -> Grammar:
    return Grammar(json.dumps({"grammars": [{"json_schema": schema}]}))


def of_rules(rules: str) -> Grammar:
    return Grammar(json.dumps({"grammars": [{"lark_grammar": rules}]}))


def of_gbnf(rules: str) -> Grammar:
    return Grammar(json.dumps({"grammars": [{"lark_grammar": "start: @own"}, {"name": "own", GBNF: rules}]}))


CHAIN = "start: a0\n" + "\n".join(f"a{i}: a{i + 1}" for i in range(5_000)) + '\na5000: "x"'
ENDLESS_WORK = {"properties": {"a": {"items": {"type": "integer", "multipleOf": 9_999_991}}, "b": {}}}
WIDE = {"type": "object", "properties": {f"p{i}": {"type": "string"} for i in range(700)}}


@pytest.mark.parametrize(
    ("grammar", "problem", "place"),
    [
        (of_schema(ENDLESS_WORK), OVERDUE, "/properties/a"),
        (of_rules(CHAIN), OVERDUE, ""),
        (of_schema({"prefixItems": [WIDE], "minItems": 1, "type": "array"}), TOO_WIDE, "/prefixItems/0"),
        (
            of_schema({"anyOf": [{"type": "null"}, {"oneOf": [{"type": "string"}, {"minLength": 1}]}]}),
            OVERLAPPING,
            "/anyOf/1",
        ),
        (of_schema({"properties": {"a": {"pattern": "(?=a)", "type": "string"}}}), "look-around", "/properties/a"),
        (of_schema({"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}), ENDLESS, ""),
        (Grammar("[a-", "regex"), "a regular expression is wrong: unclosed character class", ""),
        (of_gbnf("root ::= ("), "line 1", ""),
        (of_gbnf("root ::= " + "(" * 5000), "nested too deep", ""),
        (of_rules("start: nope"), 'unknown name: "nope"', ""),
        (Grammar("not a grammar"), "", ""),
    ],
    ids=["endless", "overflow", "wide", "overlap", "lookahead", "circle", "regex", "gbnf", "deep", "rules", "junk"],
)
def test_what_cannot_be_compiled_says_why_and_where(
    compiler: Compiler, grammar: Grammar, problem: str, place: str
) -> None:
    failed = compile_now(compiler, grammar)
    assert isinstance(failed, FailedGrammar) and not failed.is_busy
    assert problem in failed.problem and failed.place == place
    assert isinstance(compile_now(compiler, of_schema({"type": "null"})), GrammarConstraint), "all others go on"


def test_a_pure_circle_of_references_by_itself_is_found_where_it_stands(compiler: Compiler) -> None:
    failed = compile_now(
        compiler, of_schema({"properties": {"x": {"type": "string", "enum": [1]}}, "required": ["x"], "type": "object"})
    )
    assert isinstance(failed, FailedGrammar) and "unsatisfiable" in failed.problem


def test_rules_in_gbnf_may_stand_among_others(compiler: Compiler) -> None:
    constraint = compile_now(compiler, of_gbnf('root ::= "yes" | "no"'))
    assert not isinstance(constraint, FailedGrammar) and answer(constraint) in ("yes", "no")


def test_requests_with_one_grammar_have_constraints_of_their_own(compiler: Compiler) -> None:
    first, second = (compile_now(compiler, of_schema({"type": "boolean"})) for _ in range(2))
    assert isinstance(first, GrammarConstraint) and isinstance(second, GrammarConstraint)
    first.accept(min(allowed(first)))
    assert allowed(first) != allowed(second)
    assert answer(second) in ("true", "false")


def test_a_grammar_that_failed_is_compiled_anew(compiler: Compiler) -> None:
    grammar = of_schema({"title": "fails"})
    constraint = compile_now(compiler, grammar)
    assert isinstance(constraint, GrammarConstraint)
    key = (grammar.notation, grammar.text)
    kept = compiler._cache.get(key)
    constraint._on_failure()
    assert kept is not None and compiler._cache.get(key) is None
    assert isinstance(compile_now(compiler, grammar), GrammarConstraint)


def test_one_that_asks_while_it_is_compiled_waits_for_the_same(compiler: Compiler) -> None:
    results = Results()
    for _ in range(MAX_COMPILING * 2):
        compiler.compile(of_schema({"title": "asked often"}), results.take)
    assert all(isinstance(one, GrammarConstraint) for one in results.wait(MAX_COMPILING * 2))


def test_more_than_so_many_at_a_time_are_to_be_tried_again(compiler: Compiler) -> None:
    results, count = Results(), MAX_COMPILING + 5
    for number in range(count):
        compiler.compile(of_schema({"title": f"{number}"}), results.take)
    busy = [one for one in results.wait(count) if isinstance(one, FailedGrammar)]
    assert busy and all(one.is_busy for one in busy)
    assert isinstance(compile_now(compiler, of_schema({"title": f"{count - 1}"})), GrammarConstraint), "it is not kept"


def test_a_trial_process_that_is_killed_is_replaced() -> None:
    compiler = Compiler(build_source())
    try:
        assert isinstance(compile_now(compiler, of_schema({})), GrammarConstraint)
        process = compiler._trials._process
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        titles = itertools.count()  # until it is there, all else is to be tried again
        while isinstance(result := compile_now(compiler, of_schema({"title": f"{next(titles)}"})), FailedGrammar):
            assert result.is_busy
    finally:
        compiler.close()
    assert isinstance(compile_now(compiler, of_schema({"title": "late"})), FailedGrammar)


def test_a_model_whose_tokens_cannot_be_had_refuses_each_grammar_in_words(tmp_path: Any) -> None:
    compiler = open_compiler(tmp_path, 300, (0,))
    assert isinstance(compiler, NoCompiler)
    failed: list[Any] = []
    compiler.compile(of_schema({}), failed.append)
    assert "tokenizer.json" in failed[0].problem
    assert isinstance(open_compiler(tmp_path, 300, ()), NoCompiler)


def test_the_cache_is_bounded_by_number_and_by_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caching, "MAX_KEPT", 3)
    monkeypatch.setattr(caching, "MAX_KEPT_BYTES", 100)
    cache = Cache()
    for name in "abcd":
        cache.put(("", name), Compiled(num_bytes=10))
    assert cache.get(("", "a")) is None and cache.get(("", "b")) is not None
    cache.put(("", "large"), Compiled(num_bytes=85))
    assert cache.get(("", "b")) is not None and cache.get(("", "c")) is None
    cache.put(("", "larger"), Compiled(num_bytes=200))
    assert len(cache) == 1 and cache.get(("", "larger")) is not None
