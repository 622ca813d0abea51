"""Calls that nothing announces: the answer, or a line of it, is the call."""

import re
from collections.abc import Callable, Sequence

from pagoda_server.dialog.call_object import Accept, read_call, read_calls
from pagoda_server.dialog.feed import Feed, Marks, Reading
from pagoda_server.dialog.turn import Tool
from pagoda_server.dialog.writer import Writer

LINE_BLANKS = re.compile(r"[ \t]*")


class Lines:
    """Where a line of the answer begins: only there can a call be that has no mark."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self.is_first = True
        """Nothing but blanks and calls has come."""

    def write(self, text: str) -> None:
        self.is_first = self.is_first and not text.strip()
        self._writer.content.write(text)


def read_lines(
    feed: Feed,
    writer: Writer,
    marks: Marks,
    read_marked: Callable[[str], Reading[bool]],
    read_bare: Callable[[bool], Reading[bool]],
) -> Reading[None]:
    """Reads an answer whose calls begin with a mark or stand at the beginning of a line.

    `read_bare` is told whether nothing has been said before.
    """
    lines = Lines(writer)
    ends = Marks("\n", *marks.all)
    is_line_start = True
    while True:
        if is_line_start:
            lines.write((yield from feed.skip_space()))
            if (yield from read_bare(lines.is_first)):
                continue
        mark = yield from feed.pass_until(ends, lines.write)
        if not mark:
            return
        is_line_start = mark == "\n" or (yield from read_marked(mark))
        if mark == "\n" or not is_line_start:
            lines.write(mark)


def read_json(feed: Feed, writer: Writer, *, accept: Accept | None) -> Reading[bool]:
    """Reads one object or a list of them as calls."""
    if (yield from feed.comes("[")):
        return (yield from read_calls(feed, writer, accept=accept))
    return (yield from read_call(feed, writer, accept=accept))


def accept_offered(tools: Sequence[Tool], *, any_name: bool = False) -> Accept:
    """Returns what takes the names of these tools; any name where an object of this shape can be nothing else."""
    names = {tool.name for tool in tools}
    return lambda name: any_name or name in names
