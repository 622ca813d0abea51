"""A line at the bottom of the terminal that stays while the text above it scrolls as text does.

The lines above are made the scrolling region (DECSTBM), so a long answer lands in the scrollback once, as it came.
"""

import os
import time
from types import TracebackType
from typing import Self, TextIO

from pagoda_cli.local.screen import DIM, PLAIN, has_colour, is_terminal

REFRESH_SECONDS = 0.1
SAVE, RESTORE, CLEAR = "\x1b7", "\x1b8", "\x1b[2K"


class StatusLine:
    """Within `with`, write text by `write`; does nothing but write where there is no terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._shown = is_terminal(stream)
        self._dim, self._plain = (DIM, PLAIN) if has_colour(stream) else ("", "")
        self._size: os.terminal_size | None = None
        self._drawn_at = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._size is not None:
            self._stream.write(f"{SAVE}\x1b[{self._size.lines};1H{CLEAR}\x1b[r{RESTORE}")
            self._stream.flush()

    def write(self, text: str, status: str) -> None:
        self._stream.write(text)
        if self._shown and time.monotonic() - self._drawn_at >= REFRESH_SECONDS:
            self._draw(status)
        self._stream.flush()

    def _draw(self, status: str) -> None:
        self._drawn_at = time.monotonic()
        size = os.get_terminal_size(self._stream.fileno())
        if size.lines < 3:
            return
        if size != self._size:
            self._reserve(size)
        self._stream.write(
            f"{SAVE}\x1b[{size.lines};1H{CLEAR}{self._dim}{status[: size.columns]}{self._plain}{RESTORE}"
        )

    def _reserve(self, size: os.terminal_size) -> None:
        """Takes the last line out of the scrolling region. NB: ESC D scrolls when the cursor stands in that line.

        A line feed would do so too, but a terminal makes a carriage return of it.
        """
        self._size = size
        self._stream.write(f"\x1bD\x1b[1A{SAVE}\x1b[1;{size.lines - 1}r{RESTORE}")
