"""<|tool_call>call:f{k:<|"|>v<|"|>,n:42}<tool_call|>: keys without quotes, and a token for the quotes of strings."""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from pagoda_server.dialog.arguments import Arguments
from pagoda_server.dialog.feed import Feed, Marks, Reading, Write
from pagoda_server.dialog.formats.gemma_rules import ValueRules
from pagoda_server.dialog.formats.tool_format import ToolFormat, repeat
from pagoda_server.dialog.json_text import MAX_NAME, quote, quote_inside
from pagoda_server.dialog.lark import Rules
from pagoda_server.dialog.parser import read_marked
from pagoda_server.dialog.schemas import ANY
from pagoda_server.dialog.turn import Tool
from pagoda_server.dialog.typed import to_json
from pagoda_server.dialog.writer import Writer

MAX_DEPTH = 32
MAX_BARE = 1_024
NAME = re.compile(r"[\w.-]*")
BARE = re.compile(r"[^,{}\[\]<>:]*")
KEY_ENDS = Marks(":")


@dataclass(frozen=True, slots=True)
class Signs:
    begin: str
    end: str
    quote: str

    @property
    def all(self) -> frozenset[str]:
        return frozenset({self.begin, self.end, self.quote})


def build_read(signs: Signs) -> Callable[[Feed, Writer, Sequence[Tool]], Reading[None]]:
    marks = Marks(signs.begin)

    def read(feed: Feed, writer: Writer, tools: Sequence[Tool]) -> Reading[None]:
        def read_one(_: str) -> Reading[bool]:
            name = yield from feed.attempt(_read_name(feed))
            if name is None:
                return False
            writer.begin_call(name)
            if (yield from _pass_members(feed, _Reader(signs.quote), Arguments(writer, tools, name), writer)):
                yield from feed.skip_space()
                yield from feed.accept(signs.end)
            return True

        yield from read_marked(feed, writer, marks, read_one)

    return read


def _read_name(feed: Feed) -> Reading[str | None]:
    """NB: some answers leave out the word before the colon."""
    yield from feed.skip_space()
    if not (yield from feed.accept("call:", ":")):
        return None
    name = yield from feed.take_while(NAME, MAX_NAME)
    return name if name and (yield from feed.accept("{")) else None


def _pass_members(feed: Feed, reader: "_Reader", arguments: Arguments, writer: Writer) -> Reading[bool]:
    """Writes the arguments. Returns whether they are whole."""
    while True:
        yield from feed.skip_space()
        if (yield from feed.accept("}")):
            arguments.end()
            return True
        key = yield from reader.read_key(feed)
        if key is None:
            return False
        arguments.begin(key)
        if not (yield from reader.pass_value(feed, writer.write_arguments)):
            return False
        yield from feed.skip_space()
        yield from feed.accept(",")


class _Reader:
    def __init__(self, sign: str) -> None:
        self._quote = sign
        self._ends = Marks(sign)

    def read_key(self, feed: Feed) -> Reading[str | None]:
        found = yield from feed.read_until(KEY_ENDS, MAX_NAME)
        if found is None:
            return None
        yield from feed.skip_space()
        return found[0].strip().removeprefix(self._quote).removesuffix(self._quote)

    def pass_value(self, feed: Feed, write: Write, depth: int = 0) -> Reading[bool]:
        if (yield from feed.accept(self._quote)):
            write('"')
            is_whole = bool((yield from feed.pass_until(self._ends, lambda text: write(quote_inside(text)))))
            write('"' if is_whole else "")
            return is_whole
        bracket = yield from feed.accept("{", "[")
        if bracket:
            return depth < MAX_DEPTH and (yield from self._pass_collection(feed, write, bracket, depth))
        text = yield from feed.take_while(BARE, MAX_BARE)
        write(to_json(text, ANY) or quote(text.strip()))
        return bool((yield from feed.peek()))

    def _pass_collection(self, feed: Feed, write: Write, bracket: str, depth: int) -> Reading[bool]:
        end = "}" if bracket == "{" else "]"
        write(bracket)
        is_first = True
        while True:
            yield from feed.skip_space()
            if (yield from feed.accept(end)):
                write(end)
                return True
            if not is_first and not (yield from feed.accept(",")):
                return False
            yield from feed.skip_space()
            write("" if is_first else ", ")
            is_first = False
            if bracket == "{":
                key = yield from self.read_key(feed)
                if key is None:
                    return False
                write(quote(key) + ": ")
            if not (yield from self.pass_value(feed, write, depth + 1)):
                return False


def build_write_calls(signs: Signs) -> Callable[[Rules, Sequence[Tool], bool], str]:
    def write_calls(rules: Rules, tools: Sequence[Tool], is_parallel: bool) -> str:
        calls = rules.add(" | ".join(ValueRules(rules, signs.quote, tool).write_call() for tool in tools))
        call = rules.add(f"{calls} {rules.literal('}' + signs.end)}")
        return repeat(call, rules.literal(signs.begin), is_parallel=is_parallel)

    return write_calls


def _has(sign: str) -> Callable[[str, Collection[str]], bool]:
    return lambda template, tokens: sign in template or sign in tokens


def _build(name: str, title: str, models: str, signs: Signs) -> ToolFormat:
    return ToolFormat(
        name=name,
        title=title,
        models=models,
        example=f"{signs.begin}call:get_weather{{city:{signs.quote}Oslo{signs.quote}}}{signs.end}",
        sign=f"`{signs.begin}` in the template or among the added tokens",
        is_recognised=_has(signs.begin),
        read=build_read(signs),
        markers=signs.all,
        begin=signs.begin,
        write_calls=build_write_calls(signs),
        streaming="as the model writes them, turned into JSON",
    )


GEMMA = _build("gemma4", "Gemma 4", "Gemma 4", Signs("<|tool_call>", "<tool_call|>", '<|"|>'))
FUNCTION_GEMMA = _build(
    "functiongemma",
    "FunctionGemma",
    "FunctionGemma",
    Signs("<start_function_call>", "<end_function_call>", "<escape>"),
)
