"""The grammar of an answer in the model's own notation: reasoning, then the form that was asked for, or calls."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pagoda_server.dialog.answer_rules import ANSWER_GRAMMAR
from pagoda_server.dialog.format import Format
from pagoda_server.dialog.turn import AnswerFormat, GrammarFormat, JsonFormat, Tool, Turn
from pagoda_server.grammar.build import BadFormat, build_grammar, prepare_schema, write_rules
from pagoda_server.grammar.schema import BadSchema
from pagoda_server.http.answer_form import AnswerForm
from pagoda_server.http.errors import RequestError
from pagoda_server.wire import MAX_GRAMMAR_CHARACTERS, Grammar


def build_form_grammar(asked: AnswerForm | None) -> Grammar | None:
    """Returns the grammar of an answer that is nothing but text. Raises `RequestError`."""
    if asked is None:
        return None
    try:
        return build_grammar(asked.answer_format, param=asked.param, options=asked.options)
    except BadFormat as error:
        raise RequestError(str(error), param=asked.param, code="invalid_value") from error


def build_turn_grammar(
    form: Format,
    turn: Turn,
    asked: AnswerForm | None,
    *,
    prompt_end: str,
    special_ids: Mapping[str, int],
    tools_param: str,
) -> Grammar | None:
    """Returns the grammar of the answer to a turn, None where it is free. Raises `RequestError`."""
    plain = build_form_grammar(asked)
    answer_format = None if asked is None or plain is None else _prepare_format(asked.answer_format, plain)
    tools = _prepare_tools(turn.tool_use.tools, tools_param) if turn.tool_use.is_offered else ()
    prepared = replace(turn, answer_format=answer_format, tool_use=replace(turn.tool_use, tools=tools))
    rules = form.build_grammar(prepared, prompt_end, special_ids)
    if rules is None:
        return None
    param = tools_param if asked is None else asked.param
    own = answer_format.text if isinstance(answer_format, GrammarFormat) else None
    grammars = [{"lark_grammar": rules}, *([] if own is None else [{"name": ANSWER_GRAMMAR, **write_rules(own)}])]
    text = json.dumps({"grammars": grammars}, ensure_ascii=False)
    if len(text) > MAX_GRAMMAR_CHARACTERS:
        raise RequestError(
            f"{param} makes a grammar of {len(text)} characters, above {MAX_GRAMMAR_CHARACTERS}; give smaller schemas",
            param=param,
            code="invalid_value",
        )
    return Grammar(text, param=param)


def _prepare_format(answer_format: AnswerFormat, plain: Grammar) -> AnswerFormat:
    """Returns the form as it may stand among other rules; `plain` is its grammar by itself, which was checked."""
    if not isinstance(answer_format, JsonFormat):
        return answer_format
    (grammar,) = json.loads(plain.text)["grammars"]
    return JsonFormat(grammar["json_schema"])


def _prepare_tools(tools: Sequence[Tool], param: str) -> list[Tool]:
    return [_prepare_tool(tool, f"{param}[{at}]", param) if tool.strict else tool for at, tool in enumerate(tools)]


def _prepare_tool(tool: Tool, where: str, param: str) -> Tool:
    schema: Mapping[str, Any] = {"type": "object", **tool.parameters}
    try:
        return replace(tool, parameters=prepare_schema(schema))
    except BadSchema as error:
        place = f" at {error.place[:200]}" if error.place else ""
        raise RequestError(
            f"{where} is strict, and its parameters{place}: {error.message}", param=param, code="invalid_value"
        ) from error
