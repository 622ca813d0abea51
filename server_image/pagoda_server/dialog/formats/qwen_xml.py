"""<tool_call><function=f><parameter=k>v</parameter></function></tool_call>: values stand without quotes."""

from collections.abc import Iterator, Sequence

from pagoda_server.dialog.arguments import Arguments
from pagoda_server.dialog.feed import Feed, Marks, Reading
from pagoda_server.dialog.formats.argument_rules import list_arguments, write_text_value
from pagoda_server.dialog.formats.tool_format import ToolFormat, repeat
from pagoda_server.dialog.json_text import MAX_NAME
from pagoda_server.dialog.lark import Rules
from pagoda_server.dialog.parser import read_marked
from pagoda_server.dialog.turn import Tool
from pagoda_server.dialog.writer import Writer

BEGIN, END = "<tool_call>", "</tool_call>"
FUNCTION, FUNCTION_END = "<function=", "</function>"
PARAMETER, PARAMETER_END = "<parameter=", "</parameter>"
MARKS = Marks(BEGIN, FUNCTION)
NAME_ENDS = Marks(">")
VALUE_ENDS = Marks("\n" + PARAMETER_END, PARAMETER_END)


def read(feed: Feed, writer: Writer, tools: Sequence[Tool]) -> Reading[None]:
    def read_one(mark: str) -> Reading[bool]:
        name = yield from feed.attempt(_read_name(feed, mark))
        if name is None:
            return False
        writer.begin_call(name)
        yield from _read_parameters(feed, Arguments(writer, tools, name))
        return True

    yield from read_marked(feed, writer, MARKS, read_one)


def _read_name(feed: Feed, mark: str) -> Reading[str | None]:
    """NB: some answers leave out the outer tag."""
    if mark == BEGIN:
        yield from feed.skip_space()
        if not (yield from feed.accept(FUNCTION)):
            return None
    return (yield from _read_tag(feed))


def _read_tag(feed: Feed) -> Reading[str | None]:
    """Reads the rest of a tag. Returns the name in it."""
    found = yield from feed.read_until(NAME_ENDS, MAX_NAME)
    name = found[0].strip() if found else ""
    return name if name and not set(name) & set("<\n{") else None


def _read_parameters(feed: Feed, arguments: Arguments) -> Reading[None]:
    while True:
        yield from feed.skip_space()
        tag = yield from feed.accept(PARAMETER, FUNCTION_END, END)
        if tag != PARAMETER:
            break
        key = yield from _read_tag(feed)
        if key is None:
            return
        yield from feed.accept("\n")
        if not (yield from arguments.pass_text(feed, key, VALUE_ENDS, PARAMETER, FUNCTION_END, END)):
            return
    if tag or (yield from feed.peek()):
        arguments.end()
    if tag == FUNCTION_END:
        yield from feed.skip_space()
        yield from feed.accept(END)


def write_calls(rules: Rules, tools: Sequence[Tool], is_parallel: bool) -> str:
    calls = " | ".join(_write_call(rules, tool) for tool in tools)
    tail = rules.literal(f"{FUNCTION_END}\n{END}")
    call = rules.add(f"({calls}) {tail}")
    return repeat(call, rules.literal("\n" + BEGIN), is_parallel=is_parallel)


def _write_call(rules: Rules, tool: Tool) -> str:
    head = rules.literal(f"\n{FUNCTION}{tool.name}>\n")
    return rules.add(" ".join([head, *_write_parameters(rules, tool)]))


def _write_parameters(rules: Rules, tool: Tool) -> Iterator[str]:
    for key, schema, is_required in list_arguments(tool):
        value = write_text_value(rules, tool, schema, PARAMETER_END)
        line_end = rules.literal("\n")
        parameter = f"{rules.plain(f'{PARAMETER}{key}>')} {line_end} {value} {line_end}"
        yield rules.add(parameter) if is_required else f"({rules.add(parameter)})?"


QWEN_XML = ToolFormat(
    name="qwen3_xml",
    title="Qwen's XML",
    models="Qwen3-Coder, Qwen 3.5, Nemotron 3, Step 3.5",
    example="<tool_call>\n<function=get_weather>\n<parameter=city>\nOslo\n</parameter>\n</function>\n</tool_call>",
    sign="`<function=` and `<parameter=` in the template",
    is_recognised=lambda template, _: FUNCTION in template and PARAMETER in template,
    read=read,
    markers=frozenset({BEGIN, END}),
    begin=BEGIN,
    write_calls=write_calls,
    streaming="strings as the model writes them, other values whole",
)
