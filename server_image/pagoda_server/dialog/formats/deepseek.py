"""DeepSeek's tokens around a name and JSON; V3 and R1 also write `function` before it and fence the JSON."""

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

CALLS, CALLS_END = "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"
CALL, CALL_END, SEPARATOR = "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>", "<｜tool▁sep｜>"
KIND, FENCE, FENCE_END = "function", "```json", "```"
MARKS = Marks(CALLS, CALL)
BORDERS = build_borders(CALL_END)
SEPARATORS, LINE_ENDS = Marks(SEPARATOR), Marks("\n")


def read(feed: Feed, writer: Writer, tools: Sequence[Tool]) -> Reading[None]:
    def read_one(mark: str) -> Reading[bool]:
        name = yield from feed.attempt(_read_name(feed, mark))
        if name is None:
            return False
        if (yield from read_arguments(feed, writer, name, BORDERS)):
            yield from _read_end(feed)
        return True

    yield from read_marked(feed, writer, MARKS, read_one)


def _read_name(feed: Feed, mark: str) -> Reading[str | None]:
    if mark == CALLS:
        yield from feed.skip_space()
        if not (yield from feed.accept(CALL)):
            return None
    found = yield from feed.read_until(SEPARATORS, MAX_NAME)
    if found and found[0].strip() == KIND:
        found = yield from feed.read_until(LINE_ENDS, MAX_NAME)
    yield from feed.skip_space()
    yield from feed.accept(FENCE)
    yield from feed.skip_space()
    return (found[0].strip() or None) if found else None


def _read_end(feed: Feed) -> Reading[None]:
    for end in (FENCE_END, CALL_END, CALLS_END):
        yield from feed.skip_space()
        yield from feed.accept(end)


def write_calls(rules: Rules, tools: Sequence[Tool], is_parallel: bool) -> str:
    return _write(rules, tools, is_parallel, head="{name}" + SEPARATOR, tail=CALL_END, between="")


def write_fenced_calls(rules: Rules, tools: Sequence[Tool], is_parallel: bool) -> str:
    head = f"{KIND}{SEPARATOR}{{name}}\n{FENCE}\n"
    return _write(rules, tools, is_parallel, head=head, tail=f"\n{FENCE_END}{CALL_END}", between="\n")


def _write(rules: Rules, tools: Sequence[Tool], is_parallel: bool, *, head: str, tail: str, between: str) -> str:
    calls = " | ".join(
        f"{rules.literal(head.replace('{name}', tool.name))} {write_arguments(rules, tool)}" for tool in tools
    )
    call = rules.add(f"({calls}) {rules.literal(tail)}")
    begin = rules.literal(CALL)
    more = rules.literal(between + CALL)
    return f"{begin} {repeat(call, more, is_parallel=is_parallel)} {rules.literal(CALLS_END)}"


MARKERS = frozenset({CALLS, CALLS_END, CALL, CALL_END, SEPARATOR})
DEEPSEEK_V3 = ToolFormat(
    name="deepseek_v3",
    title="DeepSeek V3",
    models="DeepSeek V3 and R1, also of 0324 and 0528",
    example=f'{CALLS}{CALL}function{SEPARATOR}get_weather\n```json\n{{"city": "Oslo"}}\n```{CALL_END}{CALLS_END}',
    sign="`<｜tool▁sep｜>` and a fence of JSON in the template",
    is_recognised=lambda template, _: SEPARATOR in template and FENCE in template,
    read=read,
    markers=MARKERS,
    begin=CALLS,
    write_calls=write_fenced_calls,
)
DEEPSEEK_V31 = ToolFormat(
    name="deepseek_v31",
    title="DeepSeek V3.1",
    models="DeepSeek V3.1",
    example=f'{CALLS}{CALL}get_weather{SEPARATOR}{{"city": "Oslo"}}{CALL_END}{CALLS_END}',
    sign="`<｜tool▁sep｜>` in the template, and no fence",
    is_recognised=lambda template, _: SEPARATOR in template,
    read=read,
    markers=MARKERS,
    begin=CALLS,
    write_calls=write_calls,
)
