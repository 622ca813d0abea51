"""gpt-oss: messages of channels. Reasoning, text and calls are told apart by each message's head.

    <|channel|>analysis<|message|>…<|end|><|start|>assistant<|channel|>commentary to=functions.f <|constrain|>json
    <|message|>{…}<|call|>

A message to somebody is a call, in whichever channel; one of the analysis is reasoning; all others are content.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pagoda_server.dialog.answer_rules import write_answer
from pagoda_server.dialog.constraints import (
    are_calls_constrained,
    find_budget,
    find_prefix,
    is_constrained,
    list_callable,
)
from pagoda_server.dialog.events import AnswerParser
from pagoda_server.dialog.feed import Feed, Marks, Reading
from pagoda_server.dialog.formats.argument_rules import write_arguments
from pagoda_server.dialog.lark import TEXT, Rules
from pagoda_server.dialog.parser import ReadingParser
from pagoda_server.dialog.turn import Tool, Turn
from pagoda_server.dialog.writer import Prose, Writer

START, CHANNEL, CONSTRAIN, MESSAGE = "<|start|>", "<|channel|>", "<|constrain|>", "<|message|>"
END, CALL, RETURN = "<|end|>", "<|call|>", "<|return|>"
ANALYSIS, COMMENTARY, FINAL = "analysis", "commentary", "final"
NEXT = f"{END}{START}assistant"
MAX_HEAD = 512
HEAD_BEGINS = (START, CHANNEL, "to=")
BODY_ENDS = Marks(END, CALL, RETURN, START, CHANNEL)
HEAD_ENDS, OUTSIDE_ENDS = Marks(MESSAGE), Marks(START, CHANNEL)
RECIPIENT = re.compile(r"to=([^\s<]+)")
NOBODY = frozenset({"user", "assistant", "all"})
FUNCTIONS = "functions."


@dataclass(frozen=True, slots=True)
class _Head:
    channel: str
    recipient: str


def parse_head(text: str) -> _Head:
    channel = text.partition(CHANNEL)[2].split(None, 1)
    found = RECIPIENT.search(text)
    recipient = found[1] if found and found[1] not in NOBODY else ""
    return _Head(channel[0].partition("<")[0] if channel else "", recipient.removeprefix(FUNCTIONS))


def find_open_head(prompt_end: str, prefix: str) -> str | None:
    """Returns the head of a message that the prompt has begun, None where the answer begins its own.

    NB: where the answer goes on with a long message, that begins before the end that is at hand.
    """
    if prefix and START not in prompt_end:
        return CHANNEL + FINAL
    begun = prompt_end.rpartition(START)[2]
    head, sign, _ = begun.rpartition(MESSAGE)
    return head if sign and not any(end in begun for end in (END, CALL, RETURN)) else None


def read_answer(feed: Feed, writer: Writer, open_head: str | None) -> Reading[None]:
    messages = _Messages(writer)
    lead = ""
    if open_head is not None:
        lead = yield from messages.read_body(feed, parse_head(open_head))
    while True:
        head = yield from feed.attempt(_read_head(feed, lead))
        if head is not None:
            lead = yield from messages.read_body(feed, head)
            continue
        writer.content.write(lead)
        lead = yield from feed.pass_until(OUTSIDE_ENDS, writer.content.write)
        if not lead:
            return


def _read_head(feed: Feed, lead: str) -> Reading[_Head | None]:
    if not lead:
        yield from feed.skip_space()
        lead = yield from feed.accept(*HEAD_BEGINS)
        if not lead:
            return None
    found = yield from feed.read_until(HEAD_ENDS, MAX_HEAD)
    return parse_head(lead + found[0]) if found else None


class _Messages:
    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._last: Prose | None = None

    def read_body(self, feed: Feed, head: _Head) -> Reading[str]:
        """Reads one message. Returns what the next one's head begins with, "" where that is still to come."""
        if head.recipient:
            self._last = None
            self._writer.begin_call(head.recipient)
            end = yield from feed.pass_until(BODY_ENDS, self._writer.write_arguments)
            self._writer.end_call()
        else:
            prose = self._writer.reasoning if head.channel == ANALYSIS else self._writer.content
            self._begin(prose)
            end = yield from feed.pass_until(BODY_ENDS, prose.write)
        return end if end in (START, CHANNEL) else ""

    def _begin(self, prose: Prose) -> None:
        """Two messages of one kind are two paragraphs."""
        if self._last is prose:
            prose.write("\n\n")
        else:
            prose.border()
        self._last = prose


@dataclass(frozen=True, slots=True)
class HarmonyFormat:
    knows_effort: bool = True
    name: str = "gpt_oss"
    title: str = "Harmony"
    models: str = "gpt-oss"
    example: str = (
        f"{CHANNEL}{ANALYSIS}{MESSAGE}The weather.{NEXT}{CHANNEL}{COMMENTARY} to=functions.get_weather "
        f'{CONSTRAIN}json{MESSAGE}{{"city": "Oslo"}}{CALL}'
    )
    sign: str = "`<|channel|>` and `<|message|>` in the template"
    streaming: str = "as the model writes them"
    markers: frozenset[str] = frozenset({START, CHANNEL, CONSTRAIN, MESSAGE, END, CALL, RETURN})
    calls: bool = True
    reasons: bool = True

    def is_recognised(self, template: str) -> bool:
        return CHANNEL in template and MESSAGE in template

    def build_parser(self, tools: Sequence[Tool], prompt_end: str, *, prefix: str = "") -> AnswerParser:
        """NB: messages to somebody are calls without tools, too: they are no text."""
        head = find_open_head(prompt_end, prefix)
        return ReadingParser(lambda feed, writer: read_answer(feed, writer, head))

    def build_grammar(self, turn: Turn, prompt_end: str, special_ids: Mapping[str, int]) -> str | None:
        budget = find_budget(turn.thinking, knows_effort=self.knows_effort)
        if not is_constrained(turn) and budget is None:
            return None
        rules = Rules(special_ids)
        is_open = find_open_head(prompt_end, find_prefix(turn)) is not None
        rules.add(self._write_start(rules, turn, budget, is_open=is_open), name="start")
        return rules.write()

    def _write_start(self, rules: Rules, turn: Turn, budget: int | None, *, is_open: bool) -> str:
        final = f"{write_answer(rules, turn.answer_format) if turn.answer_format else rules.add(TEXT)}"
        final_end = f"({rules.literal(RETURN)})?"
        if is_open:
            return f"{final} {final_end}"
        calls = self._write_calls(rules, turn)
        last = f"{rules.literal(CHANNEL + FINAL + MESSAGE)} {final} {final_end}"
        if turn.tool_use.is_offered and turn.tool_use.mode == "required":
            last = calls
        elif calls:
            last = f"({calls} | {last})"
        elif turn.tool_use.is_offered:
            last = rules.anything(self.markers)
        return f"{self._write_thoughts(rules, budget)} {last}"

    def _write_thoughts(self, rules: Rules, budget: int | None) -> str:
        if budget == 0:
            return ""
        text = rules.until(END, max_tokens=budget, is_exact=False)
        thought = rules.add(
            f"{rules.literal(CHANNEL + ANALYSIS + MESSAGE)} {text} {rules.literal(START + 'assistant')}"
        )
        return f"{thought}{'*' if budget is None else '?'}"

    def _write_calls(self, rules: Rules, turn: Turn) -> str:
        """Returns what matches a call, "" where nothing is asked of it. NB: the model stops behind each."""
        if not are_calls_constrained(turn):
            return ""
        head, json_head = f"{CHANNEL}{COMMENTARY} to={FUNCTIONS}", f" {CONSTRAIN}json{MESSAGE}"
        calls = (
            f"{rules.literal(head + tool.name + json_head)} {write_arguments(rules, tool)}"
            for tool in list_callable(turn.tool_use)
        )
        return f"({' | '.join(calls)}) ({rules.literal(CALL)})?"


HARMONY = HarmonyFormat()
