"""The file of a `pagoda run`, looked at again and again: whatever becomes of it, it is looked at on."""

import asyncio
import os
import stat
from collections.abc import Callable
from pathlib import Path

from pagoda_cli.local.spec_file import MAX_FILE_BYTES

WATCH_SECONDS = 0.5
GONE_LOOKS = 4
"""An editor that replaces a file takes it away first; it is gone when so many looks have not found it."""


class FollowedFile:
    """`on_trouble` is told once of each thing that keeps the file from being read."""

    def __init__(self, path: Path, on_trouble: Callable[[str], None], watch_seconds: float = WATCH_SECONDS) -> None:
        self._path = path
        self._on_trouble = on_trouble
        self._watch_seconds = watch_seconds
        self._content: bytes | None = None
        self._gone_looks = 0
        self._said = ""

    def remember(self) -> None:
        """Takes what is there now as known."""
        try:
            self._content = read_regular(self._path)
        except OSError:
            self._content = None

    async def wait_change(self) -> bytes:
        while True:
            await asyncio.sleep(self._watch_seconds)
            content = self._look()
            if content is not None and content != self._content:
                self._content = content
                return content

    def _look(self) -> bytes | None:
        try:
            content = read_regular(self._path)
        except FileNotFoundError as error:
            self._gone_looks += 1
            if self._gone_looks >= GONE_LOOKS:
                self._say(error)
            return None
        except OSError as error:
            self._say(error)
            return None
        self._gone_looks, self._said = 0, ""
        return content

    def _say(self, error: OSError) -> None:
        trouble = f"{self._path}: cannot be read: {error.strerror or error}: put it back to change what runs"
        if trouble != self._said:
            self._said = trouble
            self._on_trouble(trouble)


def read_regular(path: Path) -> bytes:
    """Reads up to one byte more than a file may have. Raises OSError, also for what is no file: a pipe could block."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(f"{path} is no regular file")
        return file.read(MAX_FILE_BYTES + 1)
