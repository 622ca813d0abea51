"""How a model writes its answers, calls and reasoning together: what reads them, and what makes them of one form."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from pagoda_server.dialog.answer_rules import write_answer
from pagoda_server.dialog.constraints import (
    are_calls_constrained,
    find_budget,
    find_prefix,
    is_constrained,
    list_callable,
)
from pagoda_server.dialog.events import AnswerParser
from pagoda_server.dialog.formats.tool_format import ToolFormat
from pagoda_server.dialog.lark import TEXT, Rules, escape_regex
from pagoda_server.dialog.parser import Chain, Plain
from pagoda_server.dialog.reasoning import ReasoningFormat, State
from pagoda_server.dialog.turn import Tool, Turn


class Format(Protocol):
    @property
    def calls(self) -> bool:
        """Returns whether answers may hold calls."""

    @property
    def reasons(self) -> bool:
        """Returns whether answers may hold reasoning."""

    @property
    def markers(self) -> frozenset[str]:
        """Returns the tokens whose text the parser must see, although they are special."""

    def build_parser(self, tools: Sequence[Tool], prompt_end: str, *, prefix: str = "") -> AnswerParser:
        """Returns a parser of one answer. Without tools nothing in it is a call.

        `prompt_end`: the last characters of the rendered prompt, which may have opened the reasoning. `prefix`: what
        the answer has said already, where it goes on with the last message.
        """

    def build_grammar(self, turn: Turn, prompt_end: str, special_ids: Mapping[str, int]) -> str | None:
        """Returns the grammar that the answer must follow in Lark's notation, None where it may be anything.

        `special_ids`: the tokenizer's special tokens, which a grammar never takes for text, and their numbers. With a
        `GrammarFormat` the grammar refers to the client's own by the name `ANSWER_GRAMMAR`.
        """


@dataclass(frozen=True, slots=True)
class TaggedFormat:
    """Reasoning between tags, then text and calls; either may be missing."""

    tools: ToolFormat | None
    reasoning: ReasoningFormat | None
    knows_effort: bool = False
    """The template tells the model how much to reason, so that effort needs no limit of tokens."""

    @property
    def markers(self) -> frozenset[str]:
        return frozenset().union(*(part.markers for part in (self.tools, self.reasoning) if part))

    @property
    def calls(self) -> bool:
        return self.tools is not None

    @property
    def reasons(self) -> bool:
        return self.reasoning is not None

    def build_parser(self, tools: Sequence[Tool], prompt_end: str, *, prefix: str = "") -> AnswerParser:
        calls = self.tools.build_parser(tools) if self.tools and tools else None
        if self.reasoning is None:
            return calls or Plain()
        breaks = [self.tools.begin] if self.tools and calls and self.tools.begin else []
        reasoning = self.reasoning.build_parser(self.reasoning.find_state(prompt_end, prefix), breaks)
        return Chain(reasoning, calls) if calls else reasoning

    def build_grammar(self, turn: Turn, prompt_end: str, special_ids: Mapping[str, int]) -> str | None:
        constrained = is_constrained(turn)
        budget = find_budget(turn.thinking, knows_effort=self.knows_effort) if self.reasoning else None
        if turn.thinking.is_off and constrained:
            budget = 0
        state: State = self.reasoning.find_state(prompt_end, find_prefix(turn)) if self.reasoning else "after"
        if not constrained and (budget is None or state == "after"):
            return None
        rules = Rules(special_ids)
        thought = self.reasoning.write_rules(rules, state, budget) if self.reasoning else ""
        text = self._write_text(state, special_ids)
        body = self._write_body(rules, turn, text)
        rules.add(f"{thought} ({body})", name="start")
        return rules.write()

    def _write_text(self, state: State, special_ids: Mapping[str, int]) -> str:
        """Returns what matches text that is no reasoning: where that may begin with a tag of plain text, not this."""
        if self.reasoning is None or state != "before" or self.reasoning.begin in special_ids:
            return TEXT
        return TEXT + r" & ~/\s*" + escape_regex(self.reasoning.begin) + r"(.|\n)*/"

    def _write_body(self, rules: Rules, turn: Turn, text: str) -> str:
        calls = self._write_calls(rules, turn)
        if calls and turn.tool_use.mode == "required":
            return f"{rules.literal(self._begin)} {calls}"
        answer = write_answer(rules, turn.answer_format) if turn.answer_format else None
        if not calls:
            return answer or rules.anything(
                self.tools.markers if self.tools and turn.tool_use.is_offered else (), text=text
            )
        if answer:
            return f"{rules.literal(self._begin)} {calls} | {answer}"
        if self.tools and self.tools.write_text:
            return f"{calls} | {rules.add(rules.add_terminal(f'{self.tools.write_text(rules)} & {text}'))}"
        free = rules.add(rules.add_terminal(f"{text} & {rules.without(self._begin)}"))
        return f"{rules.until(self._begin, text=text)} {calls} | {free}"

    def _write_calls(self, rules: Rules, turn: Turn) -> str:
        """Returns what matches the calls, "" where nothing is asked of them."""
        if not self.tools or not are_calls_constrained(turn):
            return ""
        return f"({self.tools.write_calls(rules, list_callable(turn.tool_use), turn.tool_use.parallel)})"

    @property
    def _begin(self) -> str:
        return self.tools.begin if self.tools else ""
