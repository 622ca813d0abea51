"""What a `pagoda run` says on standard error: a line for each condition, and at a terminal one line that is replaced.

Colour is only for a terminal that has it and a user who wants it (NO_COLOR); what is no terminal, or a dumb one, gets
no escape sequence at all.
"""

import contextlib
import os
import time
from collections.abc import Mapping
from typing import TextIO

from pagoda_cli.text import one_line

BEFORE_MESSAGE = len("00:00:00 ") + 12
COLUMNS_OF_NO_SIZE = 80
"""The width of a terminal that does not know its own."""
CLEAR = "\r\x1b[2K"
PLAIN, DIM, RED, GREEN, YELLOW = "\x1b[0m", "\x1b[2m", "\x1b[31m", "\x1b[32m", "\x1b[33m"
COLOURS = {"Ready": GREEN, "Failed": RED, "Trouble": RED, "Restarting": YELLOW, "Unchanged": YELLOW, "Open": YELLOW}


def is_terminal(stream: TextIO, environ: Mapping[str, str] = os.environ) -> bool:
    """Returns whether the stream obeys escape sequences."""
    return stream.isatty() and environ.get("TERM") != "dumb"


def has_colour(stream: TextIO, environ: Mapping[str, str] = os.environ) -> bool:
    """Returns whether colour is wanted there. See no-color.org: any text in NO_COLOR says no."""
    return is_terminal(stream, environ) and not environ.get("NO_COLOR")


class Screen:
    def __init__(self, stream: TextIO, environ: Mapping[str, str] = os.environ) -> None:
        self._stream = stream
        self._is_terminal = is_terminal(stream, environ)
        self._has_colour = has_colour(stream, environ)
        self._is_replaced = False

    def say(self, condition: str, message: str) -> None:
        self._write(f"{self._format(condition, message)}\n")

    def show(self, condition: str, message: str) -> None:
        """Shows a line that the next one replaces; nothing where there is no terminal."""
        if self._is_terminal:
            columns = os.get_terminal_size(self._stream.fileno()).columns or COLUMNS_OF_NO_SIZE
            self._write(self._format(condition, one_line(message)[: max(columns - BEFORE_MESSAGE - 1, 0)]))
            self._is_replaced = True

    def log(self, who: str, line: str) -> None:
        """Shows a line that a process wrote."""
        who = f"{who:<8} |"
        self._write(f"{DIM}{who}{PLAIN} {line}\n" if self._has_colour else f"{who} {line}\n")

    def end_line(self) -> None:
        """Begins a new line after the `^C` of a terminal."""
        if self._is_terminal:
            self._write("" if self._is_replaced else "\n")

    def _format(self, condition: str, message: str) -> str:
        padded, colour = f"{condition:<11}", COLOURS.get(condition)
        if self._has_colour and colour is not None:
            padded = f"{colour}{padded}{PLAIN}"
        return f"{time.strftime('%H:%M:%S')} {padded} {one_line(message)}"

    def _write(self, text: str) -> None:
        replace, self._is_replaced = CLEAR if self._is_replaced else "", False
        with contextlib.suppress(OSError):  # the terminal is closed: what runs must still be drained
            self._stream.write(f"{replace}{text}")
            self._stream.flush()
