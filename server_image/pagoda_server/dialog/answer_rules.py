"""The form that a client asks the answer itself to have, as a rule of a grammar."""

from collections.abc import Mapping
from typing import assert_never

from pagoda_server.dialog.lark import OPTIONS, Rules, write_regex
from pagoda_server.dialog.schemas import Schema
from pagoda_server.dialog.turn import AnswerFormat, ChoiceFormat, GrammarFormat, JsonFormat, RegexFormat

ANSWER_GRAMMAR = "answer"
"""The name under which the client's own grammar must stand beside ours: a list of grammars, as llguidance takes it."""


def write_answer(rules: Rules, form: AnswerFormat) -> str:
    """Returns what matches an answer of this form."""
    match form:
        case JsonFormat():
            return rules.add(_write_json(rules, {"type": "object"} if form.schema is None else form.schema))
        case RegexFormat():
            return rules.add_terminal(write_regex(form.pattern))
        case ChoiceFormat():
            return rules.add(" | ".join(rules.plain(choice) for choice in form.choices))
        case GrammarFormat():
            return f"@{ANSWER_GRAMMAR}"
        case _:
            assert_never(form)


def _write_json(rules: Rules, schema: Schema | bool) -> str:
    """NB: a schema that was prepared has options of its own, such as what blanks it may have."""
    is_prepared = isinstance(schema, Mapping) and OPTIONS in schema
    return rules.prepared_json(schema) if is_prepared else rules.json(schema)
