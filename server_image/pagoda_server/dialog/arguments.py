"""Arguments that come one by one, written as one JSON object."""

from collections.abc import Sequence

from pagoda_server.dialog.feed import Feed, Marks, Reading
from pagoda_server.dialog.json_text import quote
from pagoda_server.dialog.schemas import find_argument_kinds
from pagoda_server.dialog.turn import Tool
from pagoda_server.dialog.typed import pass_text_value
from pagoda_server.dialog.writer import Writer


class Arguments:
    """The arguments of the call that the writer has begun."""

    def __init__(self, writer: Writer, tools: Sequence[Tool], name: str) -> None:
        self._writer = writer
        self._tools = tools
        self._name = name
        self._is_empty = True

    def begin(self, key: str) -> None:
        """The key's value is what is written next."""
        self._writer.write_arguments(("{" if self._is_empty else ", ") + quote(key) + ": ")
        self._is_empty = False

    def pass_text(self, feed: Feed, key: str, ends: Marks, *followers: str) -> Reading[bool]:
        """Writes a value that stands without quotes up to its end. Returns whether it is whole."""
        self.begin(key)
        kinds = find_argument_kinds(self._tools, self._name, key)
        return bool((yield from pass_text_value(feed, kinds, ends, self._writer.write_arguments, followers)))

    def end(self) -> None:
        self._writer.write_arguments("{}" if self._is_empty else "}")
        self._writer.end_call()
