"""Arguments that come one by one, written as one JSON object."""

from collections.abc import Sequence

from pagoda_server.dialog.feed import Feed, Reading
from pagoda_server.dialog.json_text import quote
from pagoda_server.dialog.schemas import find_argument_kinds, read_mapping
from pagoda_server.dialog.turn import Tool
from pagoda_server.dialog.typed import TextEnds, pass_text_value
from pagoda_server.dialog.writer import Writer


class Arguments:
    """The arguments of the call that the writer has begun."""

    def __init__(self, writer: Writer, tools: Sequence[Tool], name: str) -> None:
        self._writer = writer
        self._tools = tools
        self._name = name
        self._is_empty = True
        tool = next((tool for tool in tools if tool.name == name), None)
        self._missing = set(read_mapping(tool.parameters, "properties")) if tool else set()

    def begin(self, key: str) -> None:
        """The key's value is what is written next."""
        self._writer.write_arguments(("{" if self._is_empty else ", ") + quote(key) + ": ")
        self._is_empty = False

    def pass_text(self, feed: Feed, key: str, ends: TextEnds) -> Reading[str]:
        """Writes a value that stands without quotes. Returns what ended it, "" where it is not whole."""
        self.begin(key)
        self._missing.discard(key)
        kinds = find_argument_kinds(self._tools, self._name, key)
        return (yield from pass_text_value(feed, kinds, ends, self._writer.write_arguments, self._missing))

    def end(self) -> None:
        self._writer.write_arguments("{}" if self._is_empty else "}")
        self._writer.end_call()
