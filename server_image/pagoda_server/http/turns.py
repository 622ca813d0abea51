"""From a turn of a conversation to the prompt that the model reads, and to what its answer is read by.

Every API of conversations comes through here: what they share is how a turn is shown to this model.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pagoda_server.dialog.choose import AUTO, check_tool_parser, choose_format
from pagoda_server.dialog.constraints import find_prefix
from pagoda_server.dialog.format import Format, TaggedFormat
from pagoda_server.dialog.formats.generic import GENERIC
from pagoda_server.dialog.formats.harmony import HARMONY
from pagoda_server.dialog.turn import Effort, Thinking, Turn
from pagoda_server.http.answer_form import AnswerForm
from pagoda_server.http.choice import Reading
from pagoda_server.http.errors import RequestError, prompt_too_long
from pagoda_server.http.history import fit_messages, read_habits
from pagoda_server.http.reading import AnswerReader
from pagoda_server.http.told_tools import tell_tools
from pagoda_server.http.tool_schemas import describe_tool
from pagoda_server.http.turn_grammars import build_form_grammar, build_turn_grammar
from pagoda_server.text.template import Template
from pagoda_server.text.tokenizer import PromptTooLong, TemplateError, Tokenizer
from pagoda_server.wire import Grammar

PROMPT_END_TOKENS = 32
"""Enough to see whether the template opened the reasoning, or closed it."""
SWITCHES = ("enable_thinking", "thinking")
"""What templates call the switch for reasoning."""
EFFORT = "reasoning_effort"
PROBE = ({"role": "user", "content": "Hello"},)
NEXT_LEVELS: Mapping[Effort, Effort] = {"none": "low", "minimal": "low", "xhigh": "high", "max": "xhigh"}


@dataclass(frozen=True, slots=True)
class Params:
    """What an API calls the fields that a turn was made of: refusals name them."""

    messages: str = "messages"
    tools: str = "tools"
    effort: str = EFFORT
    is_effort_a_hint: bool = False
    """A model that does not reason answers all the same."""


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
    grammar: Grammar | None


class Conversations:
    """How one model is shown turns, and how its answers are read."""

    def __init__(self, tokenizer: Tokenizer, *, tool_parser: str = AUTO, reasoning_parser: str = AUTO) -> None:
        """Chooses by the names of parsers. Raises ValueError for one that is unknown."""
        template = tokenizer.template
        self._tokenizer = tokenizer
        self._form = choose_form(tokenizer, tool_parser, reasoning_parser)
        self._tells_tools = self._form.calls and not template.takes_tools
        self._habits = read_habits(template)
        self._takes_system = template.takes_system
        self._rests = self._form.reasons and rests_unasked(tokenizer)
        self._decode = tokenizer.build_decode(self._form.markers)
        self._special_ids = list_grammar_tokens(tokenizer)

    def describe(self) -> str:
        """Returns in a few words what was chosen."""
        if not isinstance(self._form, TaggedFormat):
            return f"calls={HARMONY.name} reasoning={HARMONY.name}"
        tools, reasoning = self._form.tools, self._form.reasoning
        told = " (the template has no tools: they are told in words)" if self._tells_tools else ""
        return f"calls={tools.name if tools else 'none'}{told} reasoning={reasoning.name if reasoning else 'none'}"

    @property
    def _example(self) -> str:
        tools = self._form.tools if isinstance(self._form, TaggedFormat) else None
        return (tools or GENERIC).example

    def encode(self, turn: Turn, params: Params, fit: Fit, asked: AnswerForm | None = None) -> Prompt:
        """Returns the prompt of a turn whose answer is to have the form that is asked for. Raises `RequestError`."""
        self._check(turn, params)
        token_ids = self._encode(turn, params, fit)
        if not (self._form.reasons or turn.tool_use.is_offered):
            return Prompt(token_ids, None, build_form_grammar(asked))
        prompt_end = self._tokenizer.decode(token_ids[-PROMPT_END_TOKENS:], skip_special_tokens=False)
        grammar = build_turn_grammar(
            self._form,
            self._note_rest(turn),
            asked,
            prompt_end=prompt_end,
            special_ids=self._special_ids,
            tools_param=params.tools,
        )
        return Prompt(token_ids, self._build_reading(turn, prompt_end), grammar)

    def _check(self, turn: Turn, params: Params) -> None:
        if turn.tool_use.is_offered and not self._form.calls:
            raise RequestError(
                f"{params.tools} is given, but this server reads no calls (its tool parser is none); remove it",
                param=params.tools,
                code="unsupported_parameter",
            )
        if turn.documents and "documents" not in self._tokenizer.template.variables:
            raise RequestError(
                "documents is given, but this model's template takes none; put their text into a message",
                param="documents",
                code="unsupported_parameter",
            )
        effort = turn.thinking.effort
        if effort not in (None, "none") and not self._form.reasons and not params.is_effort_a_hint:
            raise RequestError(
                f"{params.effort} is {effort}, but this model does not reason; remove it",
                param=params.effort,
                code="unsupported_parameter",
            )

    def _note_rest(self, turn: Turn) -> Turn:
        """Returns the turn with its reasoning off where the template has the model answer at once."""
        said = {**_tell_effort(turn.thinking, self._tokenizer.template), **turn.template_options}
        told = [bool(said[switch]) for switch in SWITCHES if switch in said]
        is_off = not any(told) if told else self._rests
        return replace(turn, thinking=replace(turn.thinking, is_off=is_off)) if is_off else turn

    def _encode(self, turn: Turn, params: Params, fit: Fit) -> list[int]:
        template = self._tokenizer.template
        messages = fit_messages(turn.messages, self._habits)
        if not template.takes_tools:
            tools = turn.tool_use.tools if turn.tool_use.is_offered else ()
            messages = tell_tools(messages, tools, self._example, has_system=self._takes_system)
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

    def _build_reading(self, turn: Turn, prompt_end: str) -> Reading:
        form, tool_use, prefix = self._form, turn.tool_use, find_prefix(turn)
        tools = tuple(tool_use.tools) if tool_use.is_offered else ()

        def build_reader() -> AnswerReader:
            return AnswerReader(form.build_parser(tools, prompt_end, prefix=prefix), one_call=not tool_use.parallel)

        return Reading(self._decode, build_reader)


def list_grammar_tokens(tokenizer: Tokenizer) -> dict[str, int]:
    """Returns the tokens that a grammar never takes for text, and their ids.

    NB: the compiler takes for special whatever was added and stands in angle brackets, such as the <think> of Qwen 3.
    """
    added = tokenizer.raw.get_added_tokens_decoder()
    return {
        token.content: token_id
        for token_id, token in added.items()
        if token.special or (token.content.startswith("<") and token.content.endswith(">"))
    }


def choose_form(tokenizer: Tokenizer, tool_parser: str, reasoning_parser: str) -> Format:
    """Returns the model's notation; where its template has no tools and no other is named, calls are plain JSON."""
    source = tokenizer.template.source
    added = [token.content for token in tokenizer.raw.get_added_tokens_decoder().values()]
    form = choose_format(source, added, tool_parser=tool_parser, reasoning_parser=reasoning_parser)
    is_free = check_tool_parser(tool_parser) == AUTO and not form.calls
    return replace(form, tools=GENERIC) if is_free and isinstance(form, TaggedFormat) else form


def rests_unasked(tokenizer: Tokenizer) -> bool:
    """Returns whether the template has a switch for reasoning that is off where nobody says anything."""
    for switch in SWITCHES:
        if switch not in tokenizer.template.variables:
            continue
        try:
            unsaid, off, on = (
                tokenizer.render_chat(PROBE, {"add_generation_prompt": True, **said})
                for said in ({}, {switch: False}, {switch: True})
            )
        except TemplateError:
            continue
        if unsaid == off != on:
            return True
    return False


def build_variables(turn: Turn, template: Template) -> dict[str, Any]:
    """Returns what the template is told beside the messages; what the client says in its own words comes last."""
    tools = [describe_tool(tool) for tool in turn.tool_use.tools] if turn.tool_use.is_offered else None
    told: dict[str, Any] = {
        "tools": tools,
        "documents": list(turn.documents) or None,
        "add_generation_prompt": turn.add_generation_prompt,
    }
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
    """Returns the effort, or the next of the three levels that most templates know where it has no word of its own."""
    while effort in NEXT_LEVELS and not any(f"{quote}{effort}{quote}" in template.source for quote in "'\""):
        effort = NEXT_LEVELS[effort]
    return effort
