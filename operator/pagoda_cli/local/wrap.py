"""Streamed text in whole words: one that grows over the terminal's edge is taken back and written on the next line.

Nothing is held back, so the newest token is always to be seen. Line ends of the text stay; a block of code (```) is
left to the terminal.
"""

import unicodedata
from collections.abc import Callable

from pagoda_cli.local.screen import COLUMNS_OF_NO_SIZE

FENCE, BACK = "```", "\b"
TAB_COLUMNS = 8


class Wrapper:
    """`read_columns` is asked again and again, for a window changes its size."""

    def __init__(self, read_columns: Callable[[], int]) -> None:
        self._read_columns = read_columns
        self._column = 0
        self._word = ""
        self._line_start = ""
        self._is_code = False
        self._is_broken = False

    def add(self, piece: str) -> str:
        """Returns what to write for the next piece of the text."""
        columns = self._read_columns() or COLUMNS_OF_NO_SIZE
        edge = max(columns - 1, 2)  # NB: in the last column a terminal waits, and goes back differently
        return "".join(self._add_character(character, edge) for character in piece)

    def _add_character(self, character: str, edge: int) -> str:
        if character == "\n":
            return self._end_line()
        if len(self._line_start) < len(FENCE):
            self._line_start += character.strip()
        if self._is_code:
            return character
        width = self._measure(character)
        if character.isspace():
            return self._add_blank(character, width, edge)
        if width == 2:  # scripts that have no blanks between words
            return self._add_wide(character, edge)
        return self._add_letter(character, width, edge)

    def _end_line(self) -> str:
        if self._line_start == FENCE:
            self._is_code = not self._is_code
        self._column, self._word, self._line_start, self._is_broken = 0, "", "", False
        return "\n"

    def _add_blank(self, character: str, width: int, edge: int) -> str:
        """Leaves out the blanks at which the line is broken."""
        self._word = ""
        if self._is_broken or self._column + width > edge:
            self._is_broken = True
            return ""
        self._column += width
        return character

    def _add_wide(self, character: str, edge: int) -> str:
        self._word = ""
        begin = self._break_line() if self._is_broken or self._column + 2 > edge else ""
        self._column += 2
        return begin + character

    def _add_letter(self, character: str, width: int, edge: int) -> str:
        begin = self._break_line() if self._is_broken else ""
        if self._column + width > edge:
            begin += self._move_word() if self._written < self._column else self._break_line()
        self._word += character
        self._column += width
        return begin + character

    def _break_line(self) -> str:
        self._column, self._word, self._is_broken = 0, "", False
        return "\n"

    def _move_word(self) -> str:
        """Takes back the word as far as it is written. NB: by blanks, which every terminal knows."""
        written = self._column = self._written
        return f"{BACK * written}{' ' * written}\n{self._word}"

    @property
    def _written(self) -> int:
        return sum(map(self._measure, self._word))

    def _measure(self, character: str) -> int:
        if character == "\t":
            return TAB_COLUMNS - self._column % TAB_COLUMNS
        if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me", "Cf"):
            return 0
        return 2 if unicodedata.east_asian_width(character) in "WF" else 1
