"""A child's log on disk: bounded, and never a reason to stop reading the child's pipe."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

LARGEST_LOG_BYTES = 64 << 20
"""Then it becomes `NAME.1`, in place of the one before."""


class LogFile:
    """Lines are lost while it cannot be written; `on_trouble` is told once of that, and again after it could be."""

    def __init__(self, path: Path, on_trouble: Callable[[str], None], largest_bytes: int = LARGEST_LOG_BYTES) -> None:
        self._path = path
        self._on_trouble = on_trouble
        self._largest_bytes = largest_bytes
        self._fd: int | None = None
        self._size = 0
        self._failed = False

    def write(self, chunk: bytes) -> None:
        try:
            if self._fd is None:
                self._open()
            if self._size and self._size + len(chunk) > self._largest_bytes:
                self._rotate()
            assert self._fd is not None
            self._size += os.write(self._fd, chunk)
            self._failed = False
        except OSError as error:
            if not self._failed:
                self._failed = True
                self._on_trouble(f"{self._path}: cannot be written: {error.strerror}: lines are lost until it can be")

    def close(self) -> None:
        if self._fd is not None:
            fd, self._fd = self._fd, None
            with contextlib.suppress(OSError):  # what was written late could not be kept
                os.close(fd)

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        self._size = os.fstat(self._fd).st_size

    def _rotate(self) -> None:
        self.close()
        with contextlib.suppress(FileNotFoundError):
            self._path.replace(self._path.with_name(f"{self._path.name}.1"))
        self._open()
