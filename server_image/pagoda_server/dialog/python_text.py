"""Python's literals as models write them, turned into JSON character by character: 'a', True, None, [1, {'b': 2}].

JSON's own spellings (true, null) are taken too: models mix them.
"""

import re

from pagoda_server.dialog.feed import Feed, Marks, Reading, Write
from pagoda_server.dialog.json_text import HEX, quote, quote_inside, unescape

MAX_DEPTH = 64
WORDS = {"True": "true", "False": "false", "None": "null", "true": "true", "false": "false", "null": "null"}
WORD = re.compile(r"[A-Za-z]*")
NUMBER = re.compile(r"[-+0-9.eE_]*")
MAX_NUMBER = 1_024
JSON_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
BRACKETS = {"[": "]", "(": "]", "{": "}"}
STRING_BORDERS = {quote: Marks(quote, "\\") for quote in ("'", '"', "'''", '"""')}
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "a": "\a", "v": "\v", "0": "\0", "\n": ""}


def pass_literal(feed: Feed, write: Write, depth: int = 0) -> Reading[bool]:
    """Writes one literal as JSON. Returns False where it breaks off, or goes on as no literal does."""
    first = yield from feed.peek()
    if first in ("'", '"'):
        return (yield from _pass_string(feed, write))
    if first and first in "[({":
        return depth < MAX_DEPTH and (yield from _pass_collection(feed, write, depth))
    if first and first in "-+.0123456789":
        number = yield from feed.take_while(NUMBER, MAX_NUMBER)
        write(_spell_number(number))
        return bool((yield from feed.peek()))
    word = yield from feed.take_while(WORD, MAX_NUMBER)
    write(WORDS.get(word) or (quote(word) if word else ""))
    return bool(word and (yield from feed.peek()))


def _spell_number(number: str) -> str:
    """Returns a number as JSON has it; what is none there either becomes a string."""
    plain = number.replace("_", "").removeprefix("+")
    if not JSON_NUMBER.fullmatch(plain):
        try:
            plain = repr(float(plain))
        except ValueError:
            return quote(number)
    return plain if JSON_NUMBER.fullmatch(plain) else quote(number)


def _pass_string(feed: Feed, write: Write) -> Reading[bool]:
    mark = yield from feed.accept("'''", '"""', "'", '"')
    if len(mark) == 1 and (yield from feed.accept(mark)):
        write('""')
        return True
    write('"')
    while True:
        end = yield from feed.pass_until(STRING_BORDERS[mark], lambda text: write(quote_inside(text)))
        if end == mark:
            write('"')
            return True
        if not end:
            return False
        write(quote_inside((yield from _read_escape(feed))))


def _read_escape(feed: Feed) -> Reading[str]:
    char = yield from feed.take()
    if char not in ("x", "u", "U"):
        return ESCAPES.get(char, char if char in "'\"\\/" else "\\" + char)
    size = {"x": 2, "u": 4, "U": 8}[char]
    digits = yield from feed.take_while(HEX, size)
    if char == "u" and "d800" <= digits.lower() < "dc00" and (yield from feed.accept("\\u")):
        low = yield from feed.take_while(HEX, 4)
        return unescape(f"\\u{digits}\\u{low}")
    try:
        text = chr(int(digits, 16)) if len(digits) == size else ""
        text.encode()
    except (ValueError, OverflowError):
        text = ""
    return text or f"\\{char}{digits}"


def _pass_collection(feed: Feed, write: Write, depth: int) -> Reading[bool]:
    """NB: a tuple is a list; (1) is a list of one, which no model means otherwise here."""
    first = yield from feed.take()
    end = BRACKETS[first]
    write("[" if first == "(" else first)
    is_first = True
    while True:
        yield from feed.skip_space()
        if (yield from feed.accept(")" if first == "(" else end)):
            write(end)
            return True
        if not is_first:
            if not (yield from feed.accept(",")):
                return False
            yield from feed.skip_space()
            if (yield from feed.accept(")" if first == "(" else end)):
                write(end)
                return True
            write(", ")
        is_first = False
        if first == "{" and not (yield from _pass_key(feed, write)):
            return False
        if not (yield from pass_literal(feed, write, depth + 1)):
            return False


def _pass_key(feed: Feed, write: Write) -> Reading[bool]:
    """Writes a key as JSON's string, whatever it is in Python."""
    pieces: list[str] = []
    is_whole = yield from pass_literal(feed, pieces.append, MAX_DEPTH)
    key = "".join(pieces)
    write(key if key.startswith('"') else quote(key))
    yield from feed.skip_space()
    if not is_whole or not (yield from feed.accept(":")):
        return False
    write(": ")
    yield from feed.skip_space()
    return True


def convert(text: str) -> str | None:
    """Returns a whole literal as JSON, None where the text is none."""
    feed = Feed()
    feed.add(text + " ")
    feed.end()
    pieces: list[str] = []
    reading = pass_literal(feed, pieces.append)
    while True:
        try:
            next(reading)
        except StopIteration as stop:
            is_whole = bool(stop.value) and feed.rest == " "
            return "".join(pieces) if is_whole else None
