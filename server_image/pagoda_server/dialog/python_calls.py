"""Calls as Python writes them: f(a=1, b="x"), one or a list of them."""

import re
from dataclasses import dataclass

from pagoda_server.dialog.arguments import Arguments
from pagoda_server.dialog.call_object import Accept
from pagoda_server.dialog.feed import Feed, Reading
from pagoda_server.dialog.json_text import MAX_NAME
from pagoda_server.dialog.python_text import pass_literal
from pagoda_server.dialog.writer import Writer

NAME = re.compile(r"[\w.-]*")


@dataclass(frozen=True, slots=True)
class _Head:
    name: str
    key: str
    """The first argument's, which is read, too; "" where there is none."""


def read_list(feed: Feed, writer: Writer, *, accept: Accept) -> Reading[bool]:
    """Reads [f(…), g(…)] as calls. Returns False, and has read nothing, where its first item is none."""
    head = yield from feed.attempt(_read_head(feed, "[", accept))
    if head is None:
        return False
    while head is not None and (yield from _pass_arguments(feed, writer, head)):
        head = yield from feed.attempt(_read_head(feed, ",", accept))
    yield from feed.skip_space()
    yield from feed.accept("]")
    return True


def read_one(feed: Feed, writer: Writer, *, accept: Accept, opening: str = "") -> Reading[bool]:
    """Reads f(…), behind an opening perhaps. Returns False, and has read nothing, where there is none."""
    head = yield from feed.attempt(_read_head(feed, opening, accept))
    if head is not None:
        yield from _pass_arguments(feed, writer, head)
    return head is not None


def _read_head(feed: Feed, opening: str, accept: Accept) -> Reading[_Head | None]:
    yield from feed.skip_space()
    if opening and not (yield from feed.accept(opening)):
        return None
    yield from feed.skip_space()
    name = yield from feed.take_while(NAME, MAX_NAME)
    if not name or not accept(name) or not (yield from feed.accept("(")):
        return None
    key = yield from _read_key(feed)
    return None if key is None else _Head(name, key)


def _read_key(feed: Feed) -> Reading[str | None]:
    """Reads `key=` or the end of the arguments, which gives ""."""
    yield from feed.skip_space()
    if (yield from feed.accept(")")):
        return ""
    key = yield from feed.take_while(NAME, MAX_NAME)
    yield from feed.skip_space()
    if not key or not (yield from feed.accept("=")):
        return None
    yield from feed.skip_space()
    return key


def _pass_arguments(feed: Feed, writer: Writer, head: _Head) -> Reading[bool]:
    """Returns whether the call is whole."""
    writer.begin_call(head.name)
    arguments = Arguments(writer, (), head.name)
    key: str | None = head.key
    while key:
        arguments.begin(key)
        if not (yield from pass_literal(feed, writer.write_arguments)):
            return False
        yield from feed.skip_space()
        if (yield from feed.accept(")")):
            break
        if not (yield from feed.accept(",")):
            return False
        key = yield from _read_key(feed)
        if key is None:
            return False
    arguments.end()
    return True
