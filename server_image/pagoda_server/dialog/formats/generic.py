"""JSON objects or Python's calls, for models without a notation of their own: where a line begins, or in a fence.

Nothing else says that this is a call, so only the names of tools that were offered make it one.
"""

from collections.abc import Sequence

from pagoda_server.dialog.bare import accept_offered, read_json, read_lines
from pagoda_server.dialog.call_object import Accept
from pagoda_server.dialog.feed import Feed, Marks, Reading
from pagoda_server.dialog.formats.argument_rules import write_call_json
from pagoda_server.dialog.formats.tool_format import ToolFormat, repeat
from pagoda_server.dialog.lark import Rules
from pagoda_server.dialog.python_calls import read_list, read_one
from pagoda_server.dialog.turn import Tool
from pagoda_server.dialog.writer import Writer

TAG, TAG_END = "<tool_call>", "</tool_call>"
CODE, FENCES, FENCE_END = "```tool_code", ("```json", "```tool_call", "```"), "```"
MARKS = Marks(TAG, CODE, *FENCES)
NO_JSON = r"/([^{\[ \n](.|\n)*)?/"


def read(feed: Feed, writer: Writer, tools: Sequence[Tool]) -> Reading[None]:
    accept = accept_offered(tools)

    def read_marked(mark: str) -> Reading[bool]:
        is_call = yield from (_read_code if mark == CODE else read_bare)(feed, writer, accept)
        while is_call and (yield from feed.attempt(_read_more(feed))) and (yield from read_bare(feed, writer, accept)):
            continue
        if is_call:
            yield from feed.skip_space()
            yield from feed.accept(TAG_END if mark == TAG else FENCE_END)
        return is_call

    yield from read_lines(feed, writer, MARKS, read_marked, lambda _: read_bare(feed, writer, accept))


def _read_more(feed: Feed) -> Reading[bool | None]:
    """Looks whether one object more comes."""
    yield from feed.skip_space()
    return (yield from feed.comes("{")) or None


def read_bare(feed: Feed, writer: Writer, accept: Accept) -> Reading[bool]:
    if (yield from read_json(feed, writer, accept=accept)):
        return True
    return (yield from read_list(feed, writer, accept=accept))


def _read_code(feed: Feed, writer: Writer, accept: Accept) -> Reading[bool]:
    """Reads what Gemma 2 and 3 write: Python, perhaps with a print around the call."""
    for opening in ("", "print("):
        if (yield from read_one(feed, writer, accept=accept, opening=opening)):
            yield from feed.skip_space()
            if opening:
                yield from feed.accept(")")
            return True
    return (yield from read_list(feed, writer, accept=accept))


def write_calls(rules: Rules, tools: Sequence[Tool], is_parallel: bool) -> str:
    calls = rules.add(" | ".join(write_call_json(rules, tool, key="arguments") for tool in tools))
    if not is_parallel:
        return calls
    return (
        f"({calls} | {rules.literal('[')} {repeat(calls, rules.literal(', '), is_parallel=True)} {rules.literal(']')})"
    )


GENERIC = ToolFormat(
    name="generic",
    title="Plain JSON or Python",
    models="Gemma 2 and 3, and any model that was told to write this",
    example='{"name": "get_weather", "arguments": {"city": "Oslo"}}',
    sign="`tools` in a template that has no sign of another",
    is_recognised=lambda template, _: "tools" in template,
    read=read,
    markers=frozenset({TAG, TAG_END}),
    begin="",
    write_calls=write_calls,
    is_fallback=True,
    write_text=lambda rules: rules.add_terminal(NO_JSON),
)
