"""Whatever is asked for as a form is read or refused in words, and whatever is read is compiled or refused in words."""

from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.grammars.inventions import invent
from pagoda_server.dialog.turn import JsonFormat
from pagoda_server.engine.constraint import FailedGrammar
from pagoda_server.grammar.build import BadFormat, build_grammar
from pagoda_server.grammar.compiler import Compiler
from pagoda_server.grammar.keywords import FORMS, ONE_SCHEMA, SCHEMA_LISTS, SCHEMA_MAPS, TYPES, UNSUPPORTED
from pagoda_server.wire import Grammar
from tests.doubles.grammars import answer, build_source, compile_now

WORDS = sorted({*FORMS, *ONE_SCHEMA, *SCHEMA_LISTS, *SCHEMA_MAPS, *UNSUPPORTED, "const", "x-guidance", "a"})
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5)
    | st.sampled_from([*sorted(TYPES), "#", "#/$defs/a", "#/properties/a", "[a-z]+", "("]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
    max_leaves=25,
)  # fmt: skip


@pytest.fixture(scope="module")
def compiler() -> Iterator[Compiler]:
    compiler = Compiler(build_source())
    yield compiler
    compiler.close()


def build(answer_format: Any) -> Grammar | None:
    """Returns None for what is refused, in words that begin with the field."""
    try:
        return build_grammar(answer_format, param="field")
    except BadFormat as error:
        assert str(error).startswith("field")
        return None


@given(VALUES)
def test_any_json_is_read_as_a_schema_or_refused(value: Any) -> None:
    build(JsonFormat(value))


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**9))
def test_whatever_is_read_is_compiled_or_refused(compiler: Compiler, seed: int) -> None:
    grammar = build(invent(Random(seed))[1])
    if grammar is None:
        return
    result = compile_now(compiler, grammar)
    if isinstance(result, FailedGrammar):
        assert result.problem and len(result.problem) < 500
    else:
        answer(result, seed, max_tokens=30, may_fail=True)
