"""<TOOLCALL>[{"name": "f", "arguments": {…}}]</TOOLCALL>."""

from collections.abc import Sequence

from pagoda_server.dialog.call_object import read_call, read_calls
from pagoda_server.dialog.feed import Feed, Marks, Reading
from pagoda_server.dialog.formats.argument_rules import write_call_object
from pagoda_server.dialog.formats.tool_format import ToolFormat, repeat
from pagoda_server.dialog.json_text import build_borders
from pagoda_server.dialog.lark import Rules
from pagoda_server.dialog.parser import read_marked
from pagoda_server.dialog.turn import Tool
from pagoda_server.dialog.writer import Writer

BEGIN, END = "<TOOLCALL>", "</TOOLCALL>"
OPEN = "["
MARKS, BORDERS = Marks(BEGIN), build_borders(END)


def read(feed: Feed, writer: Writer, tools: Sequence[Tool]) -> Reading[None]:
    def read_one(_: str) -> Reading[bool]:
        is_list = yield from read_calls(feed, writer, borders=BORDERS)
        is_call = is_list or (yield from read_call(feed, writer, borders=BORDERS))
        if is_call:
            yield from feed.skip_space()
            yield from feed.accept(END)
        return is_call

    yield from read_marked(feed, writer, MARKS, read_one)


def write_calls(rules: Rules, tools: Sequence[Tool], is_parallel: bool) -> str:
    calls = rules.add(" | ".join(write_call_object(rules, tool) for tool in tools))
    inside = repeat(calls, rules.literal(", "), is_parallel=is_parallel)
    end = rules.literal("]" + END)
    return f"{rules.literal(OPEN)} {inside} {end}"


NEMOTRON = ToolFormat(
    name="nemotron_json",
    title="Nemotron",
    models="Nemotron Nano v2, Llama Nemotron Super and Ultra",
    example='<TOOLCALL>[{"name": "get_weather", "arguments": {"city": "Oslo"}}]</TOOLCALL>',
    sign="`<TOOLCALL>` in the template",
    is_recognised=lambda template, _: BEGIN in template,
    read=read,
    markers=frozenset({BEGIN, END}),
    begin=BEGIN,
    write_calls=write_calls,
)
