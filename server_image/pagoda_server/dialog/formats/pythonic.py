"""[f(a=1), g(b="x")]: calls as a list of Python's, which is all of the answer or a line of it."""

from collections.abc import Sequence

from pagoda_server.dialog.bare import accept_offered, read_lines
from pagoda_server.dialog.feed import Feed, Marks, Reading
from pagoda_server.dialog.formats.argument_rules import list_arguments
from pagoda_server.dialog.formats.tool_format import ToolFormat, repeat
from pagoda_server.dialog.lark import Rules
from pagoda_server.dialog.python_calls import read_list
from pagoda_server.dialog.schemas import Schema
from pagoda_server.dialog.turn import Tool
from pagoda_server.dialog.writer import Writer

START, END = "<|python_start|>", "<|python_end|>"
MARKS = Marks(START)
NO_LIST = r"/([^\[ \n](.|\n)*)?/"


def read(feed: Feed, writer: Writer, tools: Sequence[Tool]) -> Reading[None]:
    def read_marked(_: str) -> Reading[bool]:
        return _read_calls(feed, writer, tools, any_name=True)

    def read_bare(is_first: bool) -> Reading[bool]:
        return _read_calls(feed, writer, tools, any_name=is_first)

    yield from read_lines(feed, writer, MARKS, read_marked, read_bare)


def _read_calls(feed: Feed, writer: Writer, tools: Sequence[Tool], *, any_name: bool) -> Reading[bool]:
    is_call = yield from read_list(feed, writer, accept=accept_offered(tools, any_name=any_name))
    if is_call:
        yield from feed.skip_space()
        yield from feed.accept(END)
    return is_call


def write_calls(rules: Rules, tools: Sequence[Tool], is_parallel: bool) -> str:
    calls = " | ".join(write_call(rules, tool) for tool in tools)
    start, end = rules.literal(START), rules.literal(END)
    inside = rules.add(f'"[" {repeat(calls, rules.literal(", "), is_parallel=is_parallel)} "]"')
    return f"({start} {inside} {end} | {inside})" if rules.is_special(START) else inside


def write_call(rules: Rules, tool: Tool) -> str:
    """Returns what matches f(…), arguments in the schema's order. Values are JSON's: the reader takes those too."""
    written = [
        (_write_argument(rules, key, schema, is_strict=tool.strict), is_required)
        for key, schema, is_required in list_arguments(tool)
    ]
    return rules.add(f"{rules.literal(tool.name + '(')} {rules.in_order(written, ', ')} {rules.literal(')')}")


def _write_argument(rules: Rules, key: str, schema: Schema, *, is_strict: bool) -> str:
    return f"{rules.plain(key + '=')} {rules.add(rules.json(schema, is_lenient=not is_strict))}"


PYTHONIC = ToolFormat(
    name="pythonic",
    title="Pythonic",
    models="Llama 3.2 and 4 as Meta's prompts ask for it, ToolACE",
    example='[get_weather(city="Oslo", days=2)]',
    sign="`[func_name` in the template, or `<|python_start|>` among the added tokens and no `parameters`",
    is_recognised=lambda template, tokens: (
        "[func_name" in template or (START in tokens and "parameters" not in template)
    ),
    read=read,
    markers=frozenset({START, END}),
    begin="",
    write_calls=write_calls,
    write_text=lambda rules: rules.add_terminal(NO_LIST),
    streaming="as the model writes them, turned into JSON",
)
