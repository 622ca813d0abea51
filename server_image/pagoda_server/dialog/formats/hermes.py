"""<tool_call>{"name": "f", "arguments": {…}}</tool_call>, one for each call."""

from collections.abc import Sequence

from pagoda_server.dialog.call_object import read_call
from pagoda_server.dialog.feed import Feed, Marks, Reading
from pagoda_server.dialog.formats.argument_rules import write_call_object
from pagoda_server.dialog.formats.tool_format import ToolFormat, repeat
from pagoda_server.dialog.json_text import build_borders
from pagoda_server.dialog.lark import Rules
from pagoda_server.dialog.parser import read_marked
from pagoda_server.dialog.turn import Tool
from pagoda_server.dialog.writer import Writer

BEGIN, END = "<tool_call>", "</tool_call>"
MARKS, BORDERS = Marks(BEGIN), build_borders(END)


def read(feed: Feed, writer: Writer, tools: Sequence[Tool]) -> Reading[None]:
    def read_one(_: str) -> Reading[bool]:
        is_call = yield from read_call(feed, writer, borders=BORDERS)
        if is_call:
            yield from feed.skip_space()
            yield from feed.accept(END)
        return is_call

    yield from read_marked(feed, writer, MARKS, read_one)


def write_calls(rules: Rules, tools: Sequence[Tool], is_parallel: bool) -> str:
    calls = " | ".join(write_call_object(rules, tool) for tool in tools)
    line_end = rules.literal("\n")
    end = rules.literal("\n" + END)
    call = rules.add(f"{line_end} ({calls}) {end}")
    return repeat(call, rules.literal("\n" + BEGIN), is_parallel=is_parallel)


HERMES = ToolFormat(
    name="hermes",
    title="Hermes",
    models="Qwen 2.5 and 3, QwQ, Hermes 2 and 3",
    example='<tool_call>\n{"name": "get_weather", "arguments": {"city": "Oslo"}}\n</tool_call>',
    sign='`<tool_call>` and `"arguments"` in the template',
    is_recognised=lambda template, _: BEGIN in template and "arguments" in template,
    read=read,
    markers=frozenset({BEGIN, END}),
    begin=BEGIN,
    write_calls=write_calls,
)
