"""From a turn of a conversation to the prompt that the model reads, and to what its answer is read by.

Every API of conversations comes through here: what they share is how a turn is shown to this model.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pagoda_server.dialog.format import Format, find_prefix
from pagoda_server.dialog.turn import Effort, Thinking, Turn
from pagoda_server.http.choice import Reading
from pagoda_server.http.errors import RequestError, prompt_too_long
from pagoda_server.http.history import fit_messages
from pagoda_server.http.reading import AnswerReader
from pagoda_server.http.tool_schemas import describe_tool
from pagoda_server.text.template import Template
from pagoda_server.text.tokenizer import PromptTooLong, TemplateError, Tokenizer

PROMPT_END_TOKENS = 32
"""Enough to see whether the template opened the reasoning, or closed it."""
SWITCHES = ("enable_thinking", "thinking")
"""What templates call the switch for reasoning."""
EFFORT = "reasoning_effort"
NEXT_LEVELS: Mapping[Effort, Effort] = {"none": "low", "minimal": "low", "xhigh": "high"}


@dataclass(frozen=True, slots=True)
class Params:
    """What an API calls the fields that a turn was made of: refusals name them."""

    messages: str = "messages"
    tools: str = "tools"
    effort: str = EFFORT


@dataclass(frozen=True, slots=True)
class Fit:
    """How a prompt is made to fit the context."""

    limit: int | None = None
    keep_last: int | None = None
    """Of more tokens the last are kept, and the limit is none."""
    add_special_tokens: bool = False


@dataclass(frozen=True, slots=True)
class Prompt:
    token_ids: list[int]
    reading: Reading | None
    """None: the answer is plain text."""
    grammar: str | None


class Conversations:
    """How one model is shown turns, and its answers are read. `form` None: its answers are plain text."""

    def __init__(self, tokenizer: Tokenizer, form: Format | None = None) -> None:
        self._tokenizer = tokenizer
        self._form = form
        self._decode = tokenizer.decode if form is None else tokenizer.build_decode(form.markers)
        self._special_ids = {} if form is None else tokenizer.list_special_ids()

    def encode(self, turn: Turn, params: Params, fit: Fit) -> Prompt:
        """Returns the prompt of a turn. Raises `RequestError`."""
        self._check(turn, params)
        token_ids = self._encode(turn, params, fit)
        form = self._form
        if form is None or not (form.reasons or turn.tool_use.is_offered):
            return Prompt(token_ids, None, None)
        prompt_end = self._tokenizer.decode(token_ids[-PROMPT_END_TOKENS:], skip_special_tokens=False)
        grammar = form.build_grammar(turn, prompt_end, self._special_ids)
        return Prompt(token_ids, self._build_reading(form, turn, prompt_end), grammar)

    def _check(self, turn: Turn, params: Params) -> None:
        if turn.tool_use.is_offered and (self._form is None or not self._form.calls):
            raise RequestError(
                f"{params.tools} is given, but this model is not known to call tools; remove it",
                param=params.tools,
                code="unsupported_parameter",
            )
        effort = turn.thinking.effort
        if effort not in (None, "none") and (self._form is None or not self._form.reasons):
            raise RequestError(
                f"{params.effort} is {effort}, but this model does not reason; remove it",
                param=params.effort,
                code="unsupported_parameter",
            )

    def _encode(self, turn: Turn, params: Params, fit: Fit) -> list[int]:
        template = self._tokenizer.template
        messages = fit_messages([dict(message) for message in turn.messages], template)
        try:
            return self._tokenizer.encode_chat(
                messages,
                build_variables(turn, template),
                limit=fit.limit if fit.keep_last is None else None,
                keep_last=fit.keep_last,
                continues_last=turn.continues_last,
                add_special_tokens=fit.add_special_tokens,
            )
        except PromptTooLong as error:
            raise prompt_too_long(error.at_least, error.limit, params.messages) from error
        except TemplateError as error:
            raise RequestError(str(error), param=params.messages) from error

    def _build_reading(self, form: Format, turn: Turn, prompt_end: str) -> Reading:
        tool_use, prefix = turn.tool_use, find_prefix(turn)
        tools = tuple(tool_use.tools) if tool_use.is_offered else ()

        def build_reader() -> AnswerReader:
            return AnswerReader(form.build_parser(tools, prompt_end, prefix=prefix), one_call=not tool_use.parallel)

        return Reading(self._decode, build_reader)


def build_variables(turn: Turn, template: Template) -> dict[str, Any]:
    """Returns what the template is told beside the messages; what the client says in its own words comes last."""
    tools = [describe_tool(tool) for tool in turn.tool_use.tools] if turn.tool_use.is_offered else None
    told: dict[str, Any] = {"tools": tools, "add_generation_prompt": turn.add_generation_prompt}
    return {**told, **_tell_effort(turn.thinking, template), **turn.template_options}


def _tell_effort(thinking: Thinking, template: Template) -> Mapping[str, Any]:
    """Returns the effort in the words of the template, which has a switch, levels, or both."""
    effort = thinking.effort
    if effort is None:
        return {}
    switches = {name: effort != "none" for name in SWITCHES if name in template.variables}
    levels = {EFFORT: _choose_level(effort, template)} if EFFORT in template.variables else {}
    return {**switches, **levels}


def _choose_level(effort: Effort, template: Template) -> str:
    """Returns the effort, or the level next to it where the template knows three of them alone."""
    is_known = any(f"{quote}{effort}{quote}" in template.source for quote in "'\"")
    return effort if is_known else NEXT_LEVELS.get(effort, effort)
