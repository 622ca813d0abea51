"""<invoke name="f"><parameter name="k">v</parameter></invoke>: values stand without quotes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pagoda_server.dialog.arguments import Arguments
from pagoda_server.dialog.feed import Feed, Marks, Reading
from pagoda_server.dialog.formats.argument_rules import list_arguments, write_text_value
from pagoda_server.dialog.formats.tool_format import ReadAnswer, ToolFormat, WriteCalls, repeat
from pagoda_server.dialog.json_text import MAX_NAME
from pagoda_server.dialog.lark import Rules
from pagoda_server.dialog.parser import read_marked
from pagoda_server.dialog.schemas import STRING, find_kinds
from pagoda_server.dialog.turn import Tool
from pagoda_server.dialog.typed import TextEnds
from pagoda_server.dialog.writer import Writer

NEWLINE = "\n"
NAME_ENDS = Marks('"')
TAG_ENDS = Marks(">")


@dataclass(frozen=True, slots=True)
class Signs:
    begin: str
    end: str
    sign: str
    """What a template with this notation has in it."""
    prefix: str = ""
    """Before the name of each tag inside."""
    says_kind: bool = False
    """A parameter says whether its value is a string."""

    @property
    def invoke(self) -> str:
        return f'<{self.prefix}invoke name="'

    @property
    def invoke_end(self) -> str:
        return f"</{self.prefix}invoke>"

    @property
    def parameter(self) -> str:
        return f'<{self.prefix}parameter name="'

    @property
    def parameter_end(self) -> str:
        return f"</{self.prefix}parameter>"

    def build_value_ends(self) -> TextEnds:
        return TextEnds(
            (self.parameter_end,),
            (self.parameter, self.invoke_end),
            NEWLINE + self.parameter,
            '"',
            last=NEWLINE + self.invoke_end,
            last_followers=(self.end, self.invoke),
        )


def build_read(signs: Signs) -> ReadAnswer:
    marks, value_ends = Marks(signs.begin, signs.invoke), signs.build_value_ends()

    def read(feed: Feed, writer: Writer, tools: Sequence[Tool]) -> Reading[None]:
        def read_one(mark: str) -> Reading[bool]:
            name = yield from feed.attempt(_read_invoke(feed, signs, is_inside=mark == signs.invoke))
            if name is None:
                return False
            writer.begin_call(name)
            yield from _read_parameters(feed, signs, value_ends, Arguments(writer, tools, name))
            return True

        yield from read_marked(feed, writer, marks, read_one)

    return read


def _read_invoke(feed: Feed, signs: Signs, *, is_inside: bool) -> Reading[str | None]:
    yield from feed.skip_space()
    if not is_inside and not (yield from feed.accept(signs.invoke)):
        return None
    return (yield from _read_tag(feed))


def _read_tag(feed: Feed) -> Reading[str | None]:
    """Reads the rest of a tag. Returns the name in it."""
    name = yield from feed.read_until(NAME_ENDS, MAX_NAME)
    rest = (yield from feed.read_until(TAG_ENDS, MAX_NAME)) if name else None
    return name[0].strip() or None if name and rest else None


def _read_parameters(feed: Feed, signs: Signs, value_ends: TextEnds, arguments: Arguments) -> Reading[None]:
    value_end = ""
    while True:
        yield from feed.skip_space()
        tag = value_end.lstrip()
        if tag not in (signs.parameter, signs.invoke_end):
            tag = yield from feed.accept(signs.parameter, signs.invoke_end, signs.end)
        if tag != signs.parameter:
            break
        key = yield from _read_tag(feed)
        if key is None:
            return
        value_end = yield from arguments.pass_text(feed, key, value_ends)
        if not value_end:
            return
    if tag or (yield from feed.peek()):
        arguments.end()
    if tag == signs.invoke_end:
        yield from feed.skip_space()
        yield from feed.accept(signs.end)


def build_write_calls(signs: Signs) -> WriteCalls:
    def write_calls(rules: Rules, tools: Sequence[Tool], is_parallel: bool) -> str:
        calls = " | ".join(_write_call(rules, signs, tool) for tool in tools)
        call = rules.add(f"({calls}) {rules.literal(signs.invoke_end + NEWLINE)}")
        line_end, end = rules.literal(NEWLINE), rules.literal(signs.end)
        return f"{line_end} {repeat(call, '', is_parallel=is_parallel)} {end}"

    return write_calls


def _write_call(rules: Rules, signs: Signs, tool: Tool) -> str:
    head = rules.literal(f'{signs.invoke}{tool.name}">{NEWLINE}')
    return rules.add(" ".join([head, *_write_parameters(rules, signs, tool)]))


def _write_parameters(rules: Rules, signs: Signs, tool: Tool) -> Iterator[str]:
    for key, schema, is_required in list_arguments(tool):
        is_string = find_kinds(schema, schema) == STRING
        kind = f' string="{str(is_string).lower()}"' if signs.says_kind else ""
        head = f"{rules.literal(signs.parameter)} {rules.plain(key)} {rules.literal(f'{chr(34)}{kind}>')}"
        value = write_text_value(rules, tool, schema, signs.parameter_end)
        parameter = rules.add(f"{head} {value} {rules.literal(NEWLINE)}")
        yield parameter if is_required else f"({parameter})?"


def _build(name: str, title: str, models: str, signs: Signs) -> ToolFormat:
    kind = ' string="true"' if signs.says_kind else ""
    parameter = f'{signs.parameter}city"{kind}>Oslo{signs.parameter_end}'
    return ToolFormat(
        name=name,
        title=title,
        models=models,
        example=f'{signs.begin}\n{signs.invoke}get_weather">\n{parameter}\n{signs.invoke_end}\n{signs.end}',
        sign=f"`{signs.sign}` in the template",
        is_recognised=lambda template, _: signs.sign in template,
        read=build_read(signs),
        markers=frozenset({signs.begin, signs.end}),
        begin=signs.begin,
        write_calls=build_write_calls(signs),
        streaming="strings as the model writes them, other values whole",
    )


MINIMAX = _build(
    "minimax_m2",
    "MiniMax",
    "MiniMax M2",
    Signs("<minimax:tool_call>", "</minimax:tool_call>", sign="<minimax:tool_call>"),
)
DEEPSEEK_V32 = _build(
    "deepseek_v32",
    "DeepSeek V3.2",
    "DeepSeek V3.2",
    Signs("<｜DSML｜function_calls>", "</｜DSML｜function_calls>", sign="｜DSML｜", prefix="｜DSML｜", says_kind=True),
)
