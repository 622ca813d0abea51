"""Parsers made of readings, and one parser behind another."""

from collections.abc import Callable, Sequence

from pagoda_server.dialog.events import AnswerParser, Content, Event, join_events
from pagoda_server.dialog.feed import Feed, Marks, Reading
from pagoda_server.dialog.writer import Writer

Read = Callable[[Feed, Writer], Reading[None]]


class ReadingParser:
    """An `AnswerParser` that does what a reading says; whatever that leaves unread is content."""

    def __init__(self, read: Read) -> None:
        self._feed = Feed()
        self._writer = Writer()
        self._reading = self._read(read)

    def push(self, text: str) -> Sequence[Event]:
        self._feed.add(text)
        next(self._reading, None)
        return self._writer.take()

    def finish(self) -> Sequence[Event]:
        self._feed.end()
        next(self._reading, None)
        return self._writer.take()

    def _read(self, read: Read) -> Reading[None]:
        yield from read(self._feed, self._writer)
        yield from self._feed.pass_all(self._writer.content.write)
        self._writer.reasoning.end()
        self._writer.content.end()


class Plain:
    """All text is content."""

    def push(self, text: str) -> Sequence[Event]:
        return [Content(text)] if text else []

    def finish(self) -> Sequence[Event]:
        return []


class Chain:
    """What the first parser takes for content, the second one reads."""

    def __init__(self, first: AnswerParser, second: AnswerParser) -> None:
        self._first = first
        self._second = second

    def push(self, text: str) -> Sequence[Event]:
        return self._pass_on(self._first.push(text))

    def finish(self) -> Sequence[Event]:
        return join_events([*self._pass_on(self._first.finish()), *self._second.finish()])

    def _pass_on(self, events: Sequence[Event]) -> list[Event]:
        passed: list[Event] = []
        for event in events:
            passed += self._second.push(event.text) if isinstance(event, Content) else [event]
        return passed


def read_marked(feed: Feed, writer: Writer, marks: Marks, read_call: Callable[[str], Reading[bool]]) -> Reading[None]:
    """Reads an answer whose calls begin with a mark. A mark that no call follows is content."""
    while mark := (yield from feed.pass_until(marks, writer.content.write)):
        if not (yield from read_call(mark)):
            writer.content.write(mark)
