"""Kimi's tokens around an id, which has the name in it, and JSON."""

import re
from collections.abc import Sequence

from pagoda_server.dialog.call_object import read_arguments
from pagoda_server.dialog.feed import Feed, Marks, Reading
from pagoda_server.dialog.formats.argument_rules import write_arguments
from pagoda_server.dialog.formats.tool_format import ToolFormat, repeat
from pagoda_server.dialog.json_text import MAX_NAME, build_borders
from pagoda_server.dialog.lark import Rules
from pagoda_server.dialog.parser import read_marked
from pagoda_server.dialog.turn import Tool
from pagoda_server.dialog.writer import Writer

SECTION, SECTION_END = "<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"
CALL, ARGUMENTS, CALL_END = "<|tool_call_begin|>", "<|tool_call_argument_begin|>", "<|tool_call_end|>"
FUNCTIONS = "functions."
ID = re.compile(rf"(?:{re.escape(FUNCTIONS)})?(.+):\d+", re.DOTALL)
"""A call's id: the function, and the number of the call."""
MARKS, ID_ENDS = Marks(SECTION, CALL), Marks(ARGUMENTS)
BORDERS = build_borders(CALL_END)


def read(feed: Feed, writer: Writer, tools: Sequence[Tool]) -> Reading[None]:
    def read_one(mark: str) -> Reading[bool]:
        name = yield from feed.attempt(_read_name(feed, mark))
        if name is None:
            return False
        if (yield from read_arguments(feed, writer, name, BORDERS)):
            for end in (CALL_END, SECTION_END):
                yield from feed.skip_space()
                yield from feed.accept(end)
        return True

    yield from read_marked(feed, writer, MARKS, read_one)


def _read_name(feed: Feed, mark: str) -> Reading[str | None]:
    yield from feed.skip_space()
    if mark == SECTION and not (yield from feed.accept(CALL)):
        return None
    found = yield from feed.read_until(ID_ENDS, MAX_NAME)
    yield from feed.skip_space()
    named = ID.fullmatch(found[0].strip()) if found else None
    return named[1] if named else None


def write_calls(rules: Rules, tools: Sequence[Tool], is_parallel: bool) -> str:
    number, sign, end = rules.add_terminal("/[0-9]{1,3}/"), rules.literal(ARGUMENTS), rules.literal(CALL_END)
    calls = (f"{rules.literal(f'{FUNCTIONS}{t.name}:')} {number} {sign} {write_arguments(rules, t)}" for t in tools)
    call = rules.add(f"{rules.literal(CALL)} ({' | '.join(calls)}) {end}")
    return f"{repeat(call, '', is_parallel=is_parallel)} {rules.literal(SECTION_END)}"


KIMI = ToolFormat(
    name="kimi_k2",
    title="Kimi",
    models="Kimi K2, K2 Thinking",
    example=f'{SECTION}{CALL}{FUNCTIONS}get_weather:0{ARGUMENTS}{{"city": "Oslo"}}{CALL_END}{SECTION_END}',
    sign=f"`{SECTION}` in the template or among the added tokens",
    is_recognised=lambda template, tokens: SECTION in template or SECTION in tokens,
    read=read,
    markers=frozenset({SECTION, SECTION_END, CALL, ARGUMENTS, CALL_END}),
    begin=SECTION,
    write_calls=write_calls,
)
