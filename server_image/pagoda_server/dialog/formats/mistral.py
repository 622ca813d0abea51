"""[TOOL_CALLS][{"name": "f", "arguments": {…}}] up to version 7 of the tokenizer; [TOOL_CALLS]f[ARGS]{…} since."""

import re
from collections.abc import Sequence

from pagoda_server.dialog.call_object import read_arguments, read_call, read_calls
from pagoda_server.dialog.feed import Feed, Marks, Reading
from pagoda_server.dialog.formats.argument_rules import write_arguments, write_call_object
from pagoda_server.dialog.formats.tool_format import ToolFormat, repeat
from pagoda_server.dialog.json_text import MAX_NAME
from pagoda_server.dialog.lark import Rules
from pagoda_server.dialog.parser import read_marked
from pagoda_server.dialog.turn import Tool
from pagoda_server.dialog.writer import Writer

CALLS, ARGS, CALL_ID = "[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"
MARKS = Marks(CALLS)
NAME = re.compile(r"[\w.-]*")


def read(feed: Feed, writer: Writer, tools: Sequence[Tool]) -> Reading[None]:
    def read_one(_: str) -> Reading[bool]:
        if (yield from read_calls(feed, writer)) or (yield from read_call(feed, writer)):
            return True
        name = yield from feed.attempt(_read_name(feed))
        if name is None:
            return False
        yield from read_arguments(feed, writer, name)
        return True

    yield from read_marked(feed, writer, MARKS, read_one)


def _read_name(feed: Feed) -> Reading[str | None]:
    """Reads up to the arguments, past the id that some versions put between; clients get ids of ours."""
    yield from feed.skip_space()
    name = yield from feed.take_while(NAME, MAX_NAME)
    if (yield from feed.accept(CALL_ID)):
        yield from feed.take_while(NAME, MAX_NAME)
    has_sign = yield from feed.accept(ARGS)
    yield from feed.skip_space()
    return name if name and (has_sign or (yield from feed.comes("{"))) else None


def write_calls(rules: Rules, tools: Sequence[Tool], is_parallel: bool) -> str:
    """NB: the newer notation is that of a tokenizer which has a token for it."""
    if rules.is_special(ARGS):
        calls = rules.add(" | ".join(f"{rules.literal(t.name + ARGS)} {write_arguments(rules, t)}" for t in tools))
        return repeat(calls, rules.literal(CALLS), is_parallel=is_parallel)
    calls = rules.add(" | ".join(write_call_object(rules, tool) for tool in tools))
    return f'"[" {repeat(calls, rules.literal(", "), is_parallel=is_parallel)} "]"'


MISTRAL = ToolFormat(
    name="mistral",
    title="Mistral",
    models="Mistral 7B v0.3, Small, Large, Nemo, Ministral, Magistral, Devstral",
    example='[TOOL_CALLS]get_weather[ARGS]{"city": "Oslo"}',
    sign="`[TOOL_CALLS]` in the template or among the added tokens",
    is_recognised=lambda template, tokens: CALLS in tokens or CALLS in template,
    read=read,
    markers=frozenset({CALLS, ARGS, CALL_ID}),
    begin=CALLS,
    write_calls=write_calls,
)
