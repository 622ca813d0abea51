"""What a store of files and batches can do: whole objects by name, and logs that only ever grow.

Only `create` decides between two gateways. Everything else is written by one of them at a time, so that a folder of a
network file system and a bucket are equally good. What was written is there after the process or the machine fails.
"""

import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,300}(/[A-Za-z0-9_-][A-Za-z0-9._-]{0,300})*")
BLOCK_BYTES = 1024 * 1024


class StoreError(Exception):
    """The store cannot be read or written now. The message is for a log: it may name a path or a bucket."""


class Missing(StoreError):
    """There is no such object."""


class StoreFull(StoreError):
    """There is no room for more."""


@dataclass(frozen=True, slots=True)
class Entry:
    name: str
    size_bytes: int


class Writer(Protocol):
    async def write(self, piece: bytes) -> None: ...


class Log(Protocol):
    async def append(self, data: bytes) -> None:
        """Returns once the data will be found again, whatever fails."""

    async def close(self) -> None: ...


class Store(Protocol):
    """Every method raises StoreError."""

    @property
    def append_pause_seconds(self) -> float:
        """Returns how long one should gather what is appended to a log: an append may be an object of its own."""

    async def create(self, name: str, data: bytes) -> bool:
        """Returns False when the object was there before: of many who create it, one alone does."""

    async def put(self, name: str, data: bytes) -> None:
        """Writes an object, or replaces it whole."""

    async def get(self, name: str) -> bytes | None:
        """Returns a small object, None when there is none."""

    async def read(self, name: str, start: int, size: int) -> bytes:
        """Returns `size` bytes, fewer at the end. Raises Missing."""

    def write(self, name: str) -> AbstractAsyncContextManager[Writer]:
        """Gives what takes a large object piece by piece. The object is there once the block ends, and only then."""

    async def open_log(self, name: str) -> Log:
        """Returns a log that only the caller writes."""

    def read_log(self, name: str) -> AsyncIterator[bytes]:
        """Yields what was appended, in blocks that may end anywhere. Its end may be torn, where a write was cut off."""

    async def delete(self, name: str) -> None:
        """Deletes an object; one that is not there is no error."""

    async def delete_below(self, prefix: str) -> None:
        """Deletes all objects whose names begin with `prefix`, whole parts of them."""

    async def find(self, prefix: str) -> list[Entry]:
        """Returns the objects whose names begin with `prefix`, whole parts of them, sorted by name."""


def check_name(name: str) -> str:
    """Raises ValueError for a name that could mean something outside the store."""
    if not NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of an object")
    return name
