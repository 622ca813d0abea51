"""<tool_call><function=f><parameter=k>v</parameter></function></tool_call>: values stand without quotes."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from pagoda_server.dialog.arguments import Arguments
from pagoda_server.dialog.feed import Feed, Marks, Reading
from pagoda_server.dialog.formats.argument_rules import list_arguments, write_text_value
from pagoda_server.dialog.formats.tool_format import ReadAnswer, ToolFormat, WriteCalls, repeat
from pagoda_server.dialog.json_text import MAX_NAME
from pagoda_server.dialog.lark import Rules
from pagoda_server.dialog.parser import read_marked
from pagoda_server.dialog.turn import Tool
from pagoda_server.dialog.typed import TextEnds
from pagoda_server.dialog.writer import Writer

FUNCTION, FUNCTION_END = "<function=", "</function>"
PARAMETER, PARAMETER_END = "<parameter=", "</parameter>"
NAME_ENDS = Marks(">")


@dataclass(frozen=True, slots=True)
class Signs:
    begin: str
    end: str

    def build_value_ends(self) -> TextEnds:
        return TextEnds(
            ("\n" + PARAMETER_END, PARAMETER_END),
            (PARAMETER, FUNCTION_END, self.end),
            "\n" + PARAMETER,
            ">",
            last="\n" + FUNCTION_END,
            last_followers=(self.end,),
        )


def build_read(signs: Signs) -> ReadAnswer:
    marks, value_ends = Marks(signs.begin, FUNCTION), signs.build_value_ends()

    def read(feed: Feed, writer: Writer, tools: Sequence[Tool]) -> Reading[None]:
        def read_one(mark: str) -> Reading[bool]:
            name = yield from feed.attempt(_read_name(feed, is_inside=mark == FUNCTION))
            if name is None:
                return False
            writer.begin_call(name)
            yield from _read_parameters(feed, Arguments(writer, tools, name), signs.end, value_ends)
            return True

        yield from read_marked(feed, writer, marks, read_one)

    return read


def _read_name(feed: Feed, *, is_inside: bool) -> Reading[str | None]:
    """NB: some answers leave out the outer tag."""
    if not is_inside:
        yield from feed.skip_space()
        if not (yield from feed.accept(FUNCTION)):
            return None
    return (yield from _read_tag(feed))


def _read_tag(feed: Feed) -> Reading[str | None]:
    """Reads the rest of a tag. Returns the name in it."""
    found = yield from feed.read_until(NAME_ENDS, MAX_NAME)
    name = found[0].strip() if found else ""
    return name if name and not set(name) & set("<\n{") else None


def _read_parameters(feed: Feed, arguments: Arguments, end: str, value_ends: TextEnds) -> Reading[None]:
    value_end = ""
    while True:
        yield from feed.skip_space()
        tag = value_end.lstrip()
        if tag not in (PARAMETER, FUNCTION_END):
            tag = yield from feed.accept(PARAMETER, FUNCTION_END, end)
        if tag != PARAMETER:
            break
        key = yield from _read_tag(feed)
        if key is None:
            return
        yield from feed.accept("\n")
        value_end = yield from arguments.pass_text(feed, key, value_ends)
        if not value_end:
            return
    if tag or (yield from feed.peek()):
        arguments.end()
    if tag == FUNCTION_END:
        yield from feed.skip_space()
        yield from feed.accept(end)


def build_write_calls(signs: Signs) -> WriteCalls:
    def write_calls(rules: Rules, tools: Sequence[Tool], is_parallel: bool) -> str:
        calls = " | ".join(_write_call(rules, tool) for tool in tools)
        tail = rules.literal(f"{FUNCTION_END}\n{signs.end}")
        call = rules.add(f"({calls}) {tail}")
        return repeat(call, rules.literal("\n" + signs.begin), is_parallel=is_parallel)

    return write_calls


def _write_call(rules: Rules, tool: Tool) -> str:
    head = rules.literal(f"\n{FUNCTION}{tool.name}>\n")
    return rules.add(" ".join([head, *_write_parameters(rules, tool)]))


def _write_parameters(rules: Rules, tool: Tool) -> Iterator[str]:
    for key, schema, is_required in list_arguments(tool):
        value = write_text_value(rules, tool, schema, PARAMETER_END)
        line_end = rules.literal("\n")
        parameter = f"{rules.plain(f'{PARAMETER}{key}>')} {line_end} {value} {line_end}"
        yield rules.add(parameter) if is_required else f"({rules.add(parameter)})?"


def _build(name: str, title: str, models: str, signs: Signs, *, sign: str, in_template: Collection[str]) -> ToolFormat:
    parameter = f"{PARAMETER}city>\nOslo\n{PARAMETER_END}"
    return ToolFormat(
        name=name,
        title=title,
        models=models,
        example=f"{signs.begin}\n{FUNCTION}get_weather>\n{parameter}\n{FUNCTION_END}\n{signs.end}",
        sign=sign,
        is_recognised=lambda template, _: all(text in template for text in in_template),
        read=build_read(signs),
        markers=frozenset({signs.begin, signs.end}),
        begin=signs.begin,
        write_calls=build_write_calls(signs),
        streaming="strings as the model writes them, other values whole",
    )


SEED = _build(
    "seed_oss",
    "Seed",
    "Seed-OSS",
    Signs("<seed:tool_call>", "</seed:tool_call>"),
    sign="`<seed:tool_call>` in the template",
    in_template=["<seed:tool_call>"],
)
QWEN_XML = _build(
    "qwen3_xml",
    "Qwen's XML",
    "Qwen3-Coder, Qwen 3.5, Nemotron 3, Step 3.5",
    Signs("<tool_call>", "</tool_call>"),
    sign="`<function=` and `<parameter=` in the template",
    in_template=[FUNCTION, PARAMETER],
)
