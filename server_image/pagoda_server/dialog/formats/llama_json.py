"""{"name": "f", "parameters": {…}}: calls without a mark, several with `;` between them; a tag where there is one."""

from collections.abc import Sequence

from pagoda_server.dialog.bare import accept_offered, read_json, read_lines
from pagoda_server.dialog.call_object import Accept
from pagoda_server.dialog.feed import Feed, Marks, Reading
from pagoda_server.dialog.formats.argument_rules import write_call_json
from pagoda_server.dialog.formats.tool_format import ToolFormat, repeat
from pagoda_server.dialog.lark import Rules
from pagoda_server.dialog.python_calls import read_list
from pagoda_server.dialog.turn import Tool
from pagoda_server.dialog.writer import Writer

TAG = "<|python_tag|>"
START, END = "<|python_start|>", "<|python_end|>"
TAGS = (TAG, START)
MARKS = Marks(*TAGS)
NO_OBJECT = r"/([^{ \n](.|\n)*)?/"


def read(feed: Feed, writer: Writer, tools: Sequence[Tool]) -> Reading[None]:
    def read_marked(_: str) -> Reading[bool]:
        return _read_calls(feed, writer, None)

    def read_bare(is_first: bool) -> Reading[bool]:
        return _read_calls(feed, writer, accept_offered(tools, any_name=is_first))

    yield from read_lines(feed, writer, MARKS, read_marked, read_bare)


def _read_calls(feed: Feed, writer: Writer, accept: Accept | None) -> Reading[bool]:
    """Reads one call, or the next one, with what stands behind it. What follows begins a line.

    NB: Llama 4 knows the pythonic notation, too, and writes it where it is asked for this one.
    """
    is_call = yield from read_json(feed, writer, accept=accept)
    if not is_call:
        is_call = yield from read_list(feed, writer, accept=accept or (lambda _: True))
    if is_call:
        yield from feed.skip_space()
        yield from feed.accept(";", END)
    return is_call


def write_calls(rules: Rules, tools: Sequence[Tool], is_parallel: bool) -> str:
    calls = rules.add(" | ".join(write_call_json(rules, tool, key="parameters") for tool in tools))
    return repeat(calls, rules.literal("; "), is_parallel=is_parallel)


LLAMA_JSON = ToolFormat(
    name="llama3_json",
    title="Llama's JSON",
    models="Llama 3.1 to 3.3, Llama 4 with its own template",
    example='{"name": "get_weather", "parameters": {"city": "Oslo"}}',
    sign="`<|python_tag|>` or `<|python_start|>` in the template or among the added tokens, and `parameters`",
    is_recognised=lambda template, tokens: (
        "parameters" in template and any(tag in template or tag in tokens for tag in TAGS)
    ),
    read=read,
    markers=frozenset({TAG, START, END}),
    begin="",
    write_calls=write_calls,
    write_text=lambda rules: rules.add_terminal(NO_OBJECT),
)
