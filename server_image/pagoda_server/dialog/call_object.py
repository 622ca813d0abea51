"""Calls as JSON objects: {"name": "f", "arguments": {…}}, which half of the notations have in one wrapping or another.

The arguments are passed on as the model writes them. Where they come before the name they are held until it is known.
"""

from collections.abc import Callable
from dataclasses import dataclass

from pagoda_server.dialog.feed import Feed, Marks, Reading
from pagoda_server.dialog.json_text import BORDERS, MAX_NAME, pass_text_of_string, pass_value, read_string
from pagoda_server.dialog.writer import Writer

MAX_HELD = 16_384
"""The maximum length of arguments that come before the name, where a mark says that this is a call."""
MAX_REREAD = 65_536
"""Where an answer has made readings fail for so many characters, arguments before a name are held no longer."""
MAX_KEYS = 16
NAME_KEY = "name"
ARGUMENT_KEYS = frozenset({"arguments", "parameters"})

Accept = Callable[[str], bool]
"""Says whether an object with this name is a call. None: any is, because the notation says so around it."""


@dataclass(frozen=True, slots=True)
class _Head:
    name: str
    arguments: str | None = None
    """What came before the name."""
    is_at_arguments: bool = False
    """Their key is read, and they come next."""


def read_call(feed: Feed, writer: Writer, *, accept: Accept | None = None, borders: Marks = BORDERS) -> Reading[bool]:
    """Reads one object as a call. Returns False, and has read nothing, where it is none.

    `borders`: with the mark behind calls in them, arguments whose brackets do not close end there.
    """
    head = yield from feed.attempt(_read_item(feed, "", accept))
    if head is None:
        return False
    yield from _pass_call(feed, writer, head, borders)
    return True


def read_calls(feed: Feed, writer: Writer, *, accept: Accept | None = None, borders: Marks = BORDERS) -> Reading[bool]:
    """Reads a list of objects as calls. Returns False, and has read nothing, where the first is none."""
    head = yield from feed.attempt(_read_item(feed, "[", accept))
    if head is None:
        return False
    while head is not None:
        yield from _pass_call(feed, writer, head, borders)
        head = yield from feed.attempt(_read_item(feed, ",", accept))
    yield from feed.skip_space()
    yield from feed.accept("]")
    return True


def read_arguments(feed: Feed, writer: Writer, name: str, borders: Marks = BORDERS) -> Reading[bool]:
    """Reads the arguments of a call whose name stood before them. Returns whether they came to their end."""
    writer.begin_call(name)
    is_whole = yield from pass_value(feed, writer.write_arguments, borders)
    if is_whole:
        writer.end_call()
    return is_whole


def _read_item(feed: Feed, sign: str, accept: Accept | None) -> Reading[_Head | None]:
    yield from feed.skip_space()
    if sign and not (yield from feed.accept(sign)):
        return None
    yield from feed.skip_space()
    return (yield from _read_head(feed, accept))


def _read_head(feed: Feed, accept: Accept | None) -> Reading[_Head | None]:
    """Reads as far as it takes to be certain: the name, and where `accept` is given the arguments' key, too."""
    if not (yield from feed.accept("{")):
        return None
    name: str | None = None
    arguments: str | None = None
    for _ in range(MAX_KEYS):
        key = yield from _read_key(feed)
        if key is None:
            return None
        if key in ARGUMENT_KEYS and name is not None:
            is_call = accept is None or (yield from feed.peek()) in ("{", '"')
            return _Head(name, is_at_arguments=True) if is_call else None
        if key == NAME_KEY:
            name = yield from read_string(feed)
            if not name or (accept is not None and not accept(name)):
                return None
            if accept is None or arguments is not None:
                return _Head(name, arguments)
        else:
            is_held = key in ARGUMENT_KEYS and accept is None and feed.num_reread < MAX_REREAD
            value = yield from _hold_value(feed, MAX_HELD if is_held else MAX_NAME)
            if value is None:
                return None
            arguments = value if key in ARGUMENT_KEYS else arguments
        yield from feed.skip_space()
        if not (yield from feed.accept(",")):
            return None
    return None


def _read_key(feed: Feed) -> Reading[str | None]:
    yield from feed.skip_space()
    key = yield from read_string(feed)
    yield from feed.skip_space()
    if key is None or not (yield from feed.accept(":")):
        return None
    yield from feed.skip_space()
    return key


class _TooLong(Exception):
    pass


def _hold_value(feed: Feed, limit: int) -> Reading[str | None]:
    pieces: list[str] = []
    size = 0

    def hold(text: str) -> None:
        nonlocal size
        size += len(text)
        pieces.append(text)
        if size > limit:
            raise _TooLong

    try:
        is_whole = yield from pass_value(feed, hold)
    except _TooLong:
        return None
    return "".join(pieces) if is_whole else None


def _pass_call(feed: Feed, writer: Writer, head: _Head, borders: Marks) -> Reading[None]:
    """Reads the rest of a call. Where that is no object's, what follows is left to be content."""
    writer.begin_call(head.name)
    writer.write_arguments(head.arguments or "")
    if head.is_at_arguments and not (yield from _pass_arguments(feed, writer, borders)):
        return
    has_arguments = head.is_at_arguments or head.arguments is not None
    while True:
        yield from feed.skip_space()
        if (yield from feed.accept("}")):
            writer.end_call()
            return
        if not (yield from feed.accept(",")):
            return
        key = yield from _read_key(feed)
        if key is None:
            return
        if key in ARGUMENT_KEYS and not has_arguments:
            has_arguments = True
            is_whole = yield from _pass_arguments(feed, writer, borders)
        else:
            is_whole = yield from pass_value(feed, lambda _: None)
        if not is_whole:
            return


def _pass_arguments(feed: Feed, writer: Writer, borders: Marks) -> Reading[bool]:
    """Writes the arguments. Some models put them into a string: then what it says; null is none."""
    if (yield from feed.accept('"')):
        return (yield from pass_text_of_string(feed, writer.write_arguments))
    if (yield from feed.accept("null")):
        return True
    return (yield from pass_value(feed, writer.write_arguments, borders))
