"""Values that a notation writes without JSON's quotes: what they are, the tool's schema says."""

import json
import re
from collections.abc import Collection
from dataclasses import dataclass, field

from pagoda_server.dialog.feed import Feed, Marks, Reading, Write
from pagoda_server.dialog.json_text import MAX_NAME, quote_inside
from pagoda_server.dialog.python_text import convert
from pagoda_server.dialog.schemas import STRING, Kinds

MAX_HELD = 262_144
"""Characters of a value that is no string and so must be whole before it is known; a longer one is a string."""
MAX_CONVERTED = 2_048
"""Characters of a value in Python's spelling; reading it takes as many steps."""
START = 32
NUMBER = re.compile(r"-?[0-9]*[-+.eE0-9]*\s*")
QUOTES = re.compile(r'\\.|"', re.DOTALL)
TRAILING_ESCAPE = re.compile(r"(?<!\\)(\\\\)*\\\Z")
WORDS = {"true": "boolean", "True": "boolean", "false": "boolean", "False": "boolean", "null": "null", "None": "null"}


@dataclass(frozen=True, slots=True)
class TextEnds:
    """What ends a value that stands without quotes."""

    closing: tuple[str, ...]
    followers: tuple[str, ...]
    """What comes behind a closing tag; inside a string of a list or an object, a tag without it is text."""
    next_begin: str
    """Begins the next argument: some answers leave out the closing tag before it."""
    next_end: str
    """Stands behind that argument's name."""
    last: str = ""
    """Ends the arguments: some answers leave out the closing tag before this, too. "": it proves nothing."""
    last_followers: tuple[str, ...] = ()
    marks: Marks = field(init=False)
    name_ends: Marks = field(init=False)

    def __post_init__(self) -> None:
        marks = (*self.closing, self.next_begin, *filter(None, [self.last]))
        object.__setattr__(self, "marks", Marks(*marks))
        object.__setattr__(self, "name_ends", Marks(self.next_end))


def pass_text_value(feed: Feed, kinds: Kinds, ends: TextEnds, write: Write, others: Collection[str]) -> Reading[str]:
    """Writes the text up to its end as JSON: strings as they come, other values once they are whole.

    `others`: the arguments that may come next. Returns the end, "" where the answer breaks off.
    """
    value = _Value(kinds, write)
    while True:
        end = yield from feed.pass_until(ends.marks, value.write)
        if not end or (yield from _is_end(feed, ends, end, others, is_inside_string=value.is_inside_string)):
            break
        value.write(end)
    value.end(is_whole=bool(end))
    return end


def _is_end(feed: Feed, ends: TextEnds, end: str, others: Collection[str], *, is_inside_string: bool) -> Reading[bool]:
    if end in ends.closing:
        return not is_inside_string or (yield from feed.comes_past_space(*ends.followers))
    if is_inside_string:
        return False
    if end == ends.last:
        return (yield from feed.comes_past_space(*ends.last_followers))
    found = yield from feed.look(feed.read_until(ends.name_ends, MAX_NAME))
    return found is not None and found[0] in others


class _Value:
    """One value, on its way from text to JSON."""

    def __init__(self, kinds: Kinds, write: Write) -> None:
        self._kinds = kinds
        self._write = write
        self._held: list[str] = []
        self._size = 0
        self._start = ""
        """The first characters, without blanks before them: they say what it may be."""
        self._is_string = False
        self._is_quoted = False
        self._is_escaped = False

    @property
    def is_inside_string(self) -> bool:
        """Returns whether a string of a list or an object has no end yet."""
        return self._is_quoted and not self._is_string and self._start[:1] in ("{", "[")

    def write(self, text: str) -> None:
        if self._is_string:
            self._write(quote_inside(text))
            return
        self._held.append(text)
        self._size += len(text)
        if len(self._start) < START:
            self._start = (self._start + text).lstrip()[:START]
        self._follow_quotes(text)
        if self._size > MAX_HELD or not may_be_other(self._start, self._kinds):
            self._begin_string()

    def end(self, *, is_whole: bool) -> None:
        held = "".join(self._held)
        if not self._is_string and (json_text := to_json(held, self._kinds)) is not None:
            self._write(json_text)
        elif not self._is_string and not is_whole and "string" not in self._kinds:
            self._write(held)
        else:
            if not self._is_string:
                self._begin_string()
            self._write('"' if is_whole else "")

    def _follow_quotes(self, text: str) -> None:
        for sign in QUOTES.finditer(text, 1 if self._is_escaped else 0):
            if sign[0] == '"':
                self._is_quoted = not self._is_quoted
        self._is_escaped = bool(TRAILING_ESCAPE.search(text, 1 if self._is_escaped and text else 0))

    def _begin_string(self) -> None:
        self._is_string = True
        self._write('"' + quote_inside("".join(self._held)))
        self._held.clear()


def may_be_other(start: str, kinds: Kinds) -> bool:
    """Returns whether a text that starts so may be a value of one of these types that is no string."""
    if not start:
        return kinds != STRING
    if start[0] in "{[":
        return ("object" if start[0] == "{" else "array") in kinds
    if NUMBER.fullmatch(start):
        return bool(kinds & {"integer", "number"})
    word = start.strip()
    return any(spelled.startswith(word) and kind in kinds for spelled, kind in WORDS.items())


def to_json(text: str, kinds: Kinds) -> str | None:
    """Returns the text as JSON of one of these types, None where it can only be a string."""
    text = text.strip()
    if kinds == STRING or not may_be_other(text[:START], kinds):
        return None
    if _is_json(text):
        return text
    return convert(text) if len(text) <= MAX_CONVERTED else None


def _is_json(text: str) -> bool:
    try:
        json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse(constant: str) -> None:
    raise ValueError(f"JSON has no {constant}")
