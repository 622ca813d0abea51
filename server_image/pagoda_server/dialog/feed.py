"""Reading an answer while it comes: the grammar of a notation is written as if all of it were there.

A reading is a generator: it stops wherever it needs more text, and goes on there. So each notation is a few functions
that call each other as in any descent parser, and what it reads can never depend on how the text was cut.
"""

import re
from collections.abc import Callable, Generator
from typing import TypeVar

Result = TypeVar("Result")
Reading = Generator[None, None, Result]
Write = Callable[[str], None]

MAX_SPACE = 256
"""The maximum number of blanks in a row that are looked past."""
SPACE = re.compile(r"\s*")


class Marks:
    """Strings that end a text; of two that begin at the same place the longer one counts."""

    def __init__(self, *marks: str) -> None:
        self.all = marks
        self._found = re.compile("|".join(re.escape(mark) for mark in sorted(marks, key=len, reverse=True)))
        self._first = frozenset(mark[0] for mark in marks)
        self.longest = max(map(len, marks))

    def find(self, text: str, start: int, *, is_whole: bool) -> tuple[int, str]:
        """Returns where the first mark begins and which it is.

        It is "" where there is none; then the place is where one may begin once more text has come.
        """
        found = self._found.search(text, start)
        if found is None:
            return (len(text) if is_whole else self._find_beginning(text, max(start, len(text) - self.longest + 1))), ""
        if not is_whole and self._may_begin(text[found.start() : found.start() + self.longest]):
            return found.start(), ""
        return found.start(), found[0]

    def _find_beginning(self, text: str, start: int) -> int:
        return next(
            (at for at in range(start, len(text)) if text[at] in self._first and self._may_begin(text[at:])), len(text)
        )

    def _may_begin(self, text: str) -> bool:
        return any(len(mark) > len(text) and mark.startswith(text) for mark in self.all)


class Feed:
    """The text that has come and is not read yet."""

    def __init__(self) -> None:
        self._text = ""
        self._at = 0
        self._kept: int | None = None
        """Where a trial began: what it has read is read again when it fails."""
        self._is_ended = False
        self._num_pieces = 0
        self.num_reread = 0
        """Characters that failed trials read in vain."""

    def add(self, text: str) -> None:
        start = self._at if self._kept is None else self._kept
        self._text = self._text[start:] + text
        self._at -= start
        self._kept = None if self._kept is None else 0
        self._num_pieces += 1

    def end(self) -> None:
        self._is_ended = True

    @property
    def num_held(self) -> int:
        """Returns how many characters are kept."""
        return len(self._text) - (self._at if self._kept is None else self._kept)

    @property
    def rest(self) -> str:
        """Returns what has come and is not read."""
        return self._text[self._at :]

    def wait(self) -> Reading[bool]:
        """Waits for more text. Returns False when there will be none."""
        before = self._num_pieces
        while self._num_pieces == before:
            if self._is_ended:
                return False
            yield
        return True

    def attempt(self, trial: Reading[Result | None]) -> Reading[Result | None]:
        """Returns what the trial returns. Where that is None, nothing was read. NB: trials do not nest."""
        self._kept = self._at
        result = yield from trial
        if result is None:
            self.num_reread += self._at - self._kept
            self._at = self._kept
        self._kept = None
        return result

    def look(self, trial: Reading[Result]) -> Reading[Result]:
        """Returns what the trial returns; nothing was read."""
        self._kept = self._at
        result = yield from trial
        self._at = self._kept
        self._kept = None
        return result

    def comes_past_space(self, *literals: str) -> Reading[bool]:
        """Returns whether one of the literals comes next, behind blanks perhaps."""
        return (yield from self.look(self._skip_and_see(literals)))

    def _skip_and_see(self, literals: tuple[str, ...]) -> Reading[bool]:
        yield from self.skip_space()
        return (yield from self.comes(*literals))

    def peek(self) -> Reading[str]:
        """Returns the next character, "" at the end."""
        while self._at == len(self._text):
            if not (yield from self.wait()):
                return ""
        return self._text[self._at]

    def take(self) -> Reading[str]:
        """Reads one character; "" at the end."""
        char = yield from self.peek()
        self._at += len(char)
        return char

    def comes(self, *literals: str) -> Reading[bool]:
        """Returns whether one of the literals comes next."""
        for literal in literals:
            if (yield from self._comes(literal)):
                return True
        return False

    def accept(self, *literals: str) -> Reading[str]:
        """Reads the longest of the literals that comes next. Returns it, or "" where none does."""
        best = ""
        for literal in sorted(literals, key=len):
            if (yield from self._comes(literal)):
                best = literal
        self._at += len(best)
        return best

    def _comes(self, literal: str) -> Reading[bool]:
        while True:
            if self._text.startswith(literal, self._at):
                return True
            if not literal.startswith(self._text[self._at : self._at + len(literal)]):
                return False
            if not (yield from self.wait()):
                return False

    def take_while(self, pattern: re.Pattern[str], limit: int) -> Reading[str]:
        """Reads what matches a class of characters, repeated; no more than `limit` of them."""
        read = ""
        while len(read) < limit:
            found = pattern.match(self._text, self._at, self._at + limit - len(read))
            if found is not None and found[0]:
                self._at = found.end()
                read += found[0]
            if self._at < len(self._text) or not (yield from self.wait()):
                break
        return read

    def skip_space(self) -> Reading[str]:
        return (yield from self.take_while(SPACE, MAX_SPACE))

    def read_until(self, marks: Marks, limit: int) -> Reading[tuple[str, str] | None]:
        """Reads a short text and the mark at its end. Returns both, or None where no mark comes in time."""
        start, most = 0, limit + marks.longest
        while True:
            text = self._text[self._at : self._at + most]
            at, mark = marks.find(text, start, is_whole=self._is_ended and len(text) < most)
            if at > limit or (not mark and self._is_ended):
                return None
            if mark:
                self._at += at + len(mark)
                return text[:at], mark
            start = at
            if not (yield from self.wait()):
                continue

    def pass_until(self, marks: Marks, write: Write) -> Reading[str]:
        """Writes the text up to the first mark as it comes. Returns the mark, or "" at the end."""
        while True:
            at, mark = marks.find(self._text, self._at, is_whole=self._is_ended)
            if at > self._at:
                write(self._text[self._at : at])
            self._at = at + len(mark)
            if mark or (self._is_ended and self._at == len(self._text)):
                return mark
            yield from self.wait()

    def pass_while(self, pattern: re.Pattern[str], write: Write) -> Reading[None]:
        """Writes what matches a class of characters, repeated, as it comes."""
        while True:
            found = pattern.match(self._text, self._at)
            if found is not None and found[0]:
                write(found[0])
                self._at = found.end()
            if self._at < len(self._text) or not (yield from self.wait()):
                return

    def pass_all(self, write: Write) -> Reading[None]:
        """Writes all that comes."""
        while True:
            if self._at < len(self._text):
                write(self._text[self._at :])
                self._at = len(self._text)
            if not (yield from self.wait()):
                return
