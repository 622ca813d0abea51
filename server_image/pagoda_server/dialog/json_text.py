"""JSON as models write it: passed on character by character, never parsed as a whole."""

import json
import re

from pagoda_server.dialog.feed import Feed, Marks, Reading, Write

MAX_NAME = 256
"""The maximum length of a function's name, and of any other string that is looked at before a call is certain."""
MAX_ESCAPE = 12
"""Two \\uXXXX: a character of the upper planes."""
BORDERS = Marks('"', "{", "}", "[", "]")
STRING_BORDERS = Marks('"', "\\")
SCALAR = re.compile(r"[^\s,\]}{\[\"]*")
HEX = re.compile(r"[0-9a-fA-F]*")


def build_borders(end: str) -> Marks:
    """Returns what `pass_value` looks for where `end` comes behind the value."""
    return Marks(*BORDERS.all, end)


def pass_value(feed: Feed, write: Write, borders: Marks = BORDERS) -> Reading[bool]:
    """Writes one value as it stands. Returns whether it came to an end before the answer did.

    A value whose brackets do not close ends at the mark behind it, which is read: what follows is none of it.
    """
    first = yield from feed.peek()
    if first == '"':
        return (yield from _pass_string(feed, write))
    if not first or first not in "{[":
        yield from feed.pass_while(SCALAR, write)
        return True
    depth = 0
    while True:
        mark = yield from feed.pass_until(borders, write)
        if not mark or mark not in BORDERS.all:
            return bool(mark)
        write(mark)
        if mark == '"':
            if not (yield from _pass_string_end(feed, write)):
                return False
        else:
            depth += 1 if mark in "{[" else -1
            if depth == 0:
                return True


def _pass_string(feed: Feed, write: Write) -> Reading[bool]:
    write((yield from feed.take()))
    return (yield from _pass_string_end(feed, write))


def _pass_string_end(feed: Feed, write: Write) -> Reading[bool]:
    while True:
        mark = yield from feed.pass_until(STRING_BORDERS, write)
        write(mark)
        if mark != "\\":
            return bool(mark)
        write((yield from feed.take()))


def pass_text_of_string(feed: Feed, write: Write) -> Reading[bool]:
    """Writes what a string says, once its first quote is read. Returns whether it is whole."""
    while True:
        mark = yield from feed.pass_until(STRING_BORDERS, write)
        if mark != "\\":
            return bool(mark)
        escape = "\\" + (yield from feed.take())
        if escape == "\\u":
            escape += yield from feed.take_while(HEX, 4)
            if "\\ud800" <= escape.lower() < "\\udc00" and (yield from feed.accept("\\u")):
                escape += "\\u" + (yield from feed.take_while(HEX, 4))
        write(unescape(escape))


def unescape(escape: str) -> str:
    """Returns what an escape stands for; itself where it stands for nothing."""
    try:
        text: str = json.loads(f'"{escape}"', strict=False)
        text.encode()
    except ValueError:
        return escape
    return text


def read_string(feed: Feed) -> Reading[str | None]:
    """Returns what a short string says, or None where there is none, or a long one."""
    if not (yield from feed.accept('"')):
        return None
    raw = ""
    while True:
        found = yield from feed.read_until(STRING_BORDERS, MAX_NAME - len(raw))
        if found is None:
            return None
        raw += found[0]
        if found[1] == '"':
            return unescape(raw)
        raw += "\\" + (yield from feed.take())


def quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def quote_inside(text: str) -> str:
    """Returns the text as it stands inside a JSON string; pieces of it join."""
    return json.dumps(text, ensure_ascii=False)[1:-1]
