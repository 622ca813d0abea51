"""What every notation says of itself."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from pagoda_server.dialog.events import AnswerParser
from pagoda_server.dialog.feed import Feed, Reading
from pagoda_server.dialog.lark import Rules
from pagoda_server.dialog.parser import ReadingParser
from pagoda_server.dialog.turn import Tool
from pagoda_server.dialog.writer import Writer

ReadAnswer = Callable[[Feed, Writer, Sequence[Tool]], Reading[None]]
WriteCalls = Callable[[Rules, Sequence[Tool], bool], str]
IsRecognised = Callable[[str, Collection[str]], bool]


@dataclass(frozen=True, slots=True)
class ToolFormat:
    """One notation of tool calls.

    A call of a function that nobody offered is passed on as a call, as vLLM does: the client says so to the model.
    """

    name: str
    title: str
    models: str
    example: str
    sign: str
    """How it is recognised, in words."""
    is_recognised: IsRecognised
    """By the model's chat template and the text of the tokenizer's added tokens."""
    read: ReadAnswer
    markers: frozenset[str]
    """The tokens whose text the parser must see, although they are special."""
    begin: str
    """What the first call begins with, "" where nothing does; the grammar's calls go on behind it."""
    write_calls: WriteCalls
    """Adds rules for one call or more behind `begin`; True: more than one may come. Returns what matches them."""
    write_text: Callable[[Rules], str] | None = None
    """Where calls begin with no mark: adds rules for text that is no call. Returns what matches it."""
    is_fallback: bool = False
    """It is taken where there is no sign of any other."""
    streaming: str = "as the model writes them"
    """How arguments come, in words."""

    def build_parser(self, tools: Sequence[Tool]) -> AnswerParser:
        return ReadingParser(lambda feed, writer: self.read(feed, writer, tools))


def repeat(call: str, between: str, *, is_parallel: bool) -> str:
    """Returns what matches one call or, where they may be parallel, more."""
    return f"({call}) ({between} ({call}))*" if is_parallel else f"({call})"
