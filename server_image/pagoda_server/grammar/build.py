"""From the form that an answer is to have, to the grammar that the engine compiles. Pure; nothing is compiled here."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from pagoda_server.dialog.lark import OPTIONS, WHITESPACE
from pagoda_server.dialog.turn import AnswerFormat, ChoiceFormat, GrammarFormat, JsonFormat, RegexFormat
from pagoda_server.grammar.schema import MAX_TEXT_CHARACTERS, BadSchema, SchemaReader
from pagoda_server.wire import MAX_GRAMMAR_CHARACTERS, Grammar

MAX_WHITESPACE_CHARACTERS = 256
MAX_REGEX_CHARACTERS = 16_384
MAX_CHOICES = 10_000
MAX_RULES_CHARACTERS = 65_536
GBNF = "gbnf_grammar"
"""The key of a grammar in GBNF, which is translated where it is tried."""
GBNF_SIGN = "::="


class BadFormat(ValueError):
    """What is wrong with the form that was asked for, and the fix."""


@dataclass(frozen=True, slots=True)
class JsonOptions:
    whitespace_pattern: str | None = None
    """What may stand where JSON may have whitespace, in place of `WHITESPACE`."""
    is_compact: bool = False
    """No whitespace at all."""
    closes_objects: bool = False
    """Objects that name properties have no others, unless they say so themselves."""


def build_grammar(answer_format: AnswerFormat, *, param: str, options: JsonOptions = JsonOptions()) -> Grammar:
    """Returns the grammar of an answer that `param` asks for. Raises `BadFormat`, in words that begin with `param`."""
    try:
        grammar = _build(answer_format, options)
    except BadSchema as error:
        where = f"{param} at {error.place[:200]}" if error.place else param
        raise BadFormat(f"{where}: {error.message}") from error
    except BadFormat as error:
        raise BadFormat(f"{param} {error}") from error
    if len(grammar.text) > MAX_GRAMMAR_CHARACTERS:
        raise BadFormat(f"{param} is {len(grammar.text)} characters as JSON; give at most {MAX_GRAMMAR_CHARACTERS}")
    return msgspec.structs.replace(grammar, param=param)


def prepare_schema(schema: Any, options: JsonOptions = JsonOptions()) -> dict[str, Any]:
    """Returns a schema as it stands in a grammar, also behind `%json`. Raises `BadSchema`."""
    return {
        **SchemaReader(schema, closes_objects=options.closes_objects).read(),
        OPTIONS: _build_guidance(options),
    }


def _build(answer_format: AnswerFormat, options: JsonOptions) -> Grammar:
    match answer_format:
        case JsonFormat(schema=schema):
            prepared = prepare_schema({"type": "object"} if schema is None else schema, options)
            return _build_list({"json_schema": prepared})
        case RegexFormat(pattern=pattern):
            _check_length(pattern, MAX_REGEX_CHARACTERS)
            return Grammar(pattern, "regex")
        case ChoiceFormat(choices=choices):
            return _build_list({"lark_grammar": _write_choices(choices)})
        case GrammarFormat(text=text):
            _check_length(text, MAX_RULES_CHARACTERS)
            return _build_list(write_rules(text))


def _build_guidance(options: JsonOptions) -> dict[str, Any]:
    if options.is_compact:
        return {"whitespace_flexible": False}
    pattern = options.whitespace_pattern
    if pattern is not None and len(pattern) > MAX_WHITESPACE_CHARACTERS:
        raise BadFormat(f"has a whitespace pattern above {MAX_WHITESPACE_CHARACTERS} characters; give a shorter one")
    return {"whitespace_pattern": WHITESPACE if pattern is None else pattern}


def write_rules(text: str) -> dict[str, str]:
    """Returns a client's rules as a member of a list of grammars.

    NB: by itself a text that begins with `{` would be taken for such a list.
    """
    return {GBNF if GBNF_SIGN in text else "lark_grammar": text}


def _build_list(grammar: Mapping[str, Any]) -> Grammar:
    return Grammar(json.dumps({"grammars": [grammar]}, ensure_ascii=False))


def _write_choices(choices: Sequence[str]) -> str:
    if not choices:
        raise BadFormat("is an empty list; give at least one choice")
    if len(choices) > MAX_CHOICES:
        raise BadFormat(f"has {len(choices)} choices; give at most {MAX_CHOICES}")
    for choice in choices:
        if len(choice) > MAX_TEXT_CHARACTERS:
            raise BadFormat(f"has a choice of {len(choice)} characters; give at most {MAX_TEXT_CHARACTERS}")
    texts = " | ".join(json.dumps(choice) for choice in dict.fromkeys(choices))  # NB: some characters must be escaped
    return f"start: CHOICE\nCHOICE: {texts}"


def _check_length(text: str, maximum: int) -> None:
    if not text.strip():
        raise BadFormat("is empty; give one, or remove it")
    if len(text) > maximum:
        raise BadFormat(f"has {len(text)} characters; give at most {maximum}")
