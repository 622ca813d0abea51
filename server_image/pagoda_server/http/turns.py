"""From a turn of a conversation to the prompt that the model reads, and to what its answer is read by.

Every API of conversations comes through here: what they share is how a turn is shown to this model.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pagoda_server.dialog.turn import Effort, Thinking, ToolUse, Turn
from pagoda_server.http.choice import Reading
from pagoda_server.http.errors import RequestError, prompt_too_long
from pagoda_server.http.history import fit_messages
from pagoda_server.http.notation import Notation
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
class Prompt:
    token_ids: list[int]
    reading: Reading | None
    """None: the answer is plain text."""
    grammar: str | None


class Conversations:
    """How one model is shown turns, and its answers are read. `notation` None: its answers are plain text."""

    def __init__(self, tokenizer: Tokenizer, notation: Notation | None = None) -> None:
        self._tokenizer = tokenizer
        self._notation = notation
        self._decode = None if notation is None else tokenizer.build_decode(notation.markers)

    def encode(self, turn: Turn, params: Params, *, limit: int | None = None) -> Prompt:
        """Returns the prompt of a turn. Raises `RequestError`."""
        self._check(turn, params)
        token_ids = self._encode(turn, params, limit)
        if self._notation is None or not (self._notation.reasons or turn.tool_use.is_offered):
            return Prompt(token_ids, None, None)
        prompt_end = self._tokenizer.spell(token_ids[-PROMPT_END_TOKENS:])
        reading = self._build_reading(self._notation, turn.tool_use, prompt_end)
        return Prompt(token_ids, reading, self._notation.build_grammar(turn.tool_use, prompt_end))

    def _check(self, turn: Turn, params: Params) -> None:
        if turn.tool_use.is_offered and (self._notation is None or not self._notation.calls):
            raise RequestError(
                f"{params.tools} is given, but this model is not known to call tools; remove it",
                param=params.tools,
                code="unsupported_parameter",
            )
        effort = turn.thinking.effort
        if effort not in (None, "none") and not self._reasons:
            raise RequestError(
                f"{params.effort} is {effort}, but this model does not reason; remove it",
                param=params.effort,
                code="unsupported_parameter",
            )

    @property
    def _reasons(self) -> bool:
        return self._notation is not None and self._notation.reasons

    def _encode(self, turn: Turn, params: Params, limit: int | None) -> list[int]:
        template = self._tokenizer.template
        messages = fit_messages([dict(message) for message in turn.messages], template)
        try:
            return self._tokenizer.encode_chat(messages, build_variables(turn, template), limit=limit)
        except PromptTooLong as error:
            raise prompt_too_long(error.at_least, error.limit, params.messages) from error
        except TemplateError as error:
            raise RequestError(str(error), param=params.messages) from error

    def _build_reading(self, notation: Notation, tool_use: ToolUse, prompt_end: str) -> Reading:
        tools = tuple(tool_use.tools) if tool_use.is_offered else ()

        def build_reader() -> AnswerReader:
            return AnswerReader(notation.build_parser(tools, prompt_end), one_call=not tool_use.parallel)

        return Reading(self._decode or self._tokenizer.decode, build_reader)


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
