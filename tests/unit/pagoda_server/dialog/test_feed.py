"""Text that is read while it comes, and blanks at borders."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from pagoda_server.dialog.events import CallArguments, CallBegun, Content, Event, Reasoning, join_events
from pagoda_server.dialog.feed import Feed, Marks, Reading
from pagoda_server.dialog.parser import Chain, Plain, ReadingParser
from pagoda_server.dialog.reasoning import THINK
from pagoda_server.dialog.writer import MAX_BLANKS, Writer
from tests.doubles.answers import read_pieces


def run(read: Callable[[Feed], Reading[Any]], pieces: Sequence[str]) -> tuple[Any, str]:
    """Returns what a reading returns, and the text that it leaves."""
    feed, result = Feed(), []

    def reading() -> Reading[None]:
        result.append((yield from read(feed)))

    waiting = reading()
    for piece in pieces:
        feed.add(piece)
        next(waiting, None)
    feed.end()
    next(waiting, None)
    return result[0], feed.rest


@pytest.mark.parametrize(
    ("read", "text", "result", "rest"),
    [
        (lambda feed: feed.accept("ab", "abc"), "abcd", "abc", "d"),
        (lambda feed: feed.accept("ab", "abc"), "abd", "ab", "d"),
        (lambda feed: feed.accept("x"), "abd", "", "abd"),
        (lambda feed: feed.comes("x", "ab"), "abd", True, "abd"),
        (lambda feed: feed.skip_space(), " \n a", " \n ", "a"),
        (lambda feed: feed.comes_past_space("a"), " \n a", True, " \n a"),
        (lambda feed: feed.read_until(Marks("]", "]]"), 9), "ab]]c", ("ab", "]]"), "c"),
        (lambda feed: feed.read_until(Marks("]", "]]"), 9), "ab]c", ("ab", "]"), "c"),
        (lambda feed: feed.read_until(Marks("]"), 1), "ab]c", None, "ab]c"),
        (lambda feed: feed.read_until(Marks("]"), 9), "ab", None, "ab"),
    ],
)
def test_what_is_read_does_not_depend_on_the_pieces(
    read: Callable[[Feed], Reading[Any]], text: str, result: Any, rest: str
) -> None:
    assert run(read, [text]) == (result, rest)
    assert run(read, list(text)) == (result, rest)


def test_a_trial_that_fails_has_read_nothing_and_is_counted() -> None:
    feed = Feed()

    def trial() -> Reading[str | None]:
        yield from feed.accept("abc")
        return (yield from feed.accept("x")) or None

    waiting = feed.attempt(trial())
    for char in "abcd":
        feed.add(char)
        next(waiting, None)
    assert feed.rest == "abcd"
    assert feed.num_reread == 3


def test_only_what_may_become_a_mark_is_held_back() -> None:
    def read(feed: Feed, writer: Writer) -> Reading[None]:
        yield from feed.pass_until(Marks("<end>"), writer.content.write)

    parser = ReadingParser(read)
    assert parser.push("a<b<e") == [Content("a<b")]
    assert parser.push("nd") == []
    assert parser.push("x") == [Content("<endx")]


def test_what_a_reading_leaves_is_content() -> None:
    def read(feed: Feed, writer: Writer) -> Reading[None]:
        yield from feed.accept("a")

    assert read_pieces(ReadingParser(read), "abc") == [Content("bc")]


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["a ", " ", "CALL", "\n", "b"], "ab"),
        (["a ", " b"], "a  b"),
        (["a\n"], "a\n"),
        ([" ", "\n", "CALL"], ""),
        (["a" + " " * (MAX_BLANKS + 1), " ", "CALL"], "a" + " " * (MAX_BLANKS + 2)),
        (["CALL", " " * (MAX_BLANKS + 1), "b"], "b"),
    ],
)
def test_blanks_at_a_border_are_left_out(texts: list[str], said: str) -> None:
    writer = Writer()
    for text in texts:
        if text == "CALL":
            writer.content.border()
        else:
            writer.content.write(text)
    writer.content.end()
    assert "".join(event.text for event in writer.take() if isinstance(event, Content)) == said


def test_pieces_of_one_text_are_joined_and_those_of_two_are_not() -> None:
    events: list[Event] = [Reasoning("a"), Reasoning("b"), Content("c"), CallBegun(0, "f"), CallArguments(0, "{")]
    events += [CallArguments(0, "}"), CallBegun(1, "g"), CallArguments(1, "{}"), Content("d"), Content("e")]
    assert join_events(events) == [
        *(Reasoning("ab"), Content("c"), CallBegun(0, "f"), CallArguments(0, "{}")),
        *(CallBegun(1, "g"), CallArguments(1, "{}"), Content("de")),
    ]


def test_the_second_parser_of_a_chain_reads_what_the_first_takes_for_content() -> None:
    parser = Chain(THINK.build_parser("inside"), Plain())
    assert read_pieces(parser, "a</think>b") == [Reasoning("a"), Content("b")]
