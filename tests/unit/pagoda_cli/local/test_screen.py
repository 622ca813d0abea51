"""What is said looks right wherever it goes: a terminal, one without colour, a dumb one, a file."""

import os
import pty
import re
from collections.abc import Iterator
from io import StringIO
from typing import TextIO

import pytest

from pagoda_cli.local.screen import Screen

TIME = r"\d\d:\d\d:\d\d"


def read(terminal: int, end: str) -> str:
    written = b""
    while end.encode() not in written:
        written += os.read(terminal, 4096)
    return written.decode()


@pytest.fixture
def terminal() -> Iterator[tuple[TextIO, int]]:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as stream:
        yield stream, ours
    os.close(ours)


def test_a_file_gets_lines_and_nothing_else() -> None:
    stream = StringIO()
    screen = Screen(stream, {"TERM": "xterm"})
    screen.show("Starting", "load weights")
    screen.say("Ready", "http://127.0.0.1:8000/v1 \x1b[31m")
    screen.log("server", "a line")
    assert re.fullmatch(f"{TIME} Ready       http://127.0.0.1:8000/v1 \\[31m\nserver   [|] a line\n", stream.getvalue())


def test_a_terminal_gets_colour_and_the_last_line_is_replaced(terminal: tuple[TextIO, int]) -> None:
    stream, reader = terminal
    screen = Screen(stream, {"TERM": "xterm"})
    screen.show("Starting", "load weights, 1 s")
    screen.say("Ready", "here")
    written = read(reader, "here\r\n")
    shown = f"{TIME} Starting    load weights, 1 s"
    assert re.fullmatch(f"{shown}\r\x1b\\[2K{TIME} \x1b\\[32mReady      \x1b\\[0m here\r\n", written)


def test_a_key_that_ends_the_run_stays_before_the_last_words(terminal: tuple[TextIO, int]) -> None:
    stream, reader = terminal
    screen = Screen(stream, {"TERM": "xterm", "NO_COLOR": "1"})
    screen.end_line()
    screen.say("Stopped", "x")
    screen.show("Starting", "load code")
    screen.end_line()
    screen.say("Stopped", "y")
    last = f"{TIME} Starting    load code\r\x1b\\[2K{TIME} Stopped     y\r\n"
    assert re.fullmatch(f"\r\n{TIME} Stopped     x\r\n{last}", read(reader, "y\r\n"))


def test_no_color_is_kept(terminal: tuple[TextIO, int]) -> None:
    stream, reader = terminal
    screen = Screen(stream, {"TERM": "xterm", "NO_COLOR": "1"})
    screen.show("Starting", "load weights, 1 s")
    screen.say("Failed", "x")
    screen.log("server", "a line")
    assert not re.search(r"\x1b\[[0-9;]*m", read(reader, "a line\r\n"))


def test_a_dumb_terminal_gets_no_escape_sequence(terminal: tuple[TextIO, int]) -> None:
    stream, reader = terminal
    screen = Screen(stream, {"TERM": "dumb"})
    screen.show("Starting", "load weights, 1 s")
    screen.say("Failed", "x")
    assert re.fullmatch(f"{TIME} Failed      x\r\n", read(reader, "x\r\n"))


def test_a_closed_terminal_stops_nobody() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with pytest.raises(OSError), os.fdopen(writer, "w") as stream:  # its own last flush
        Screen(stream, {}).say("Draining", "x")
