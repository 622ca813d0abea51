"""<tool_call>f<arg_key>k</arg_key><arg_value>v</arg_value></tool_call>: values stand without quotes."""

import re
from collections.abc import Iterator, Sequence

from pagoda_server.dialog.arguments import Arguments
from pagoda_server.dialog.feed import Feed, Marks, Reading
from pagoda_server.dialog.formats.argument_rules import list_arguments, write_text_value
from pagoda_server.dialog.formats.tool_format import ToolFormat, repeat
from pagoda_server.dialog.json_text import MAX_NAME
from pagoda_server.dialog.lark import Rules
from pagoda_server.dialog.parser import read_marked
from pagoda_server.dialog.turn import Tool
from pagoda_server.dialog.typed import TextEnds
from pagoda_server.dialog.writer import Writer

BEGIN, END = "<tool_call>", "</tool_call>"
KEY, KEY_END = "<arg_key>", "</arg_key>"
VALUE, VALUE_END = "<arg_value>", "</arg_value>"
MARKS = Marks(BEGIN)
KEY_ENDS = Marks(KEY_END)
VALUE_ENDS = TextEnds((VALUE_END,), (KEY, END), KEY, KEY_END)
NAME = re.compile(r"[\w.:/-]*")


def read(feed: Feed, writer: Writer, tools: Sequence[Tool]) -> Reading[None]:
    def read_one(_: str) -> Reading[bool]:
        name = yield from feed.attempt(_read_name(feed))
        if name is None:
            return False
        writer.begin_call(name)
        yield from _read_arguments(feed, Arguments(writer, tools, name))
        return True

    yield from read_marked(feed, writer, MARKS, read_one)


def _read_name(feed: Feed) -> Reading[str | None]:
    """NB: 4.5 ends the line behind the name, 4.7 does not; what follows makes it certain that this is a call."""
    yield from feed.skip_space()
    name = yield from feed.take_while(NAME, MAX_NAME)
    yield from feed.skip_space()
    is_call = name and (yield from feed.comes(KEY, END))
    return name if is_call else None


def _read_arguments(feed: Feed, arguments: Arguments) -> Reading[None]:
    value_end = ""
    while True:
        yield from feed.skip_space()
        tag = value_end if value_end == KEY else (yield from feed.accept(KEY, END))
        if tag != KEY:
            break
        found = yield from feed.read_until(KEY_ENDS, MAX_NAME)
        if found is None:
            return
        yield from feed.skip_space()
        if not (yield from feed.accept(VALUE)):
            return
        value_end = yield from arguments.pass_text(feed, found[0].strip(), VALUE_ENDS)
        if not value_end:
            return
    if tag or (yield from feed.peek()):
        arguments.end()


def write_calls(rules: Rules, tools: Sequence[Tool], is_parallel: bool) -> str:
    calls = " | ".join(_write_call(rules, tool) for tool in tools)
    call = rules.add(f"({calls}) {rules.literal(END)}")
    line_end = rules.literal("\n")
    return repeat(call, f"{line_end}? {rules.literal(BEGIN)}", is_parallel=is_parallel)


def _write_call(rules: Rules, tool: Tool) -> str:
    line_end = rules.literal("\n")
    return rules.add(" ".join([rules.literal(tool.name), f"{line_end}?", *_write_arguments(rules, tool)]))


def _write_arguments(rules: Rules, tool: Tool) -> Iterator[str]:
    line_end = rules.literal("\n")
    for key, schema, is_required in list_arguments(tool):
        value = write_text_value(rules, tool, schema, VALUE_END)
        head = f"{rules.literal(KEY)} {rules.plain(key)} {rules.literal(KEY_END)} {line_end}? {rules.literal(VALUE)}"
        argument = rules.add(f"{head} {value} {line_end}?")
        yield argument if is_required else f"({argument})?"


GLM = ToolFormat(
    name="glm45",
    title="GLM",
    models="GLM 4.5 to 4.7",
    example="<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Oslo</arg_value>\n</tool_call>",
    sign="`<arg_key>` in the template",
    is_recognised=lambda template, _: KEY in template,
    read=read,
    markers=frozenset({BEGIN, END, KEY, KEY_END, VALUE, VALUE_END}),
    begin=BEGIN,
    write_calls=write_calls,
    streaming="strings as the model writes them, other values whole",
)
