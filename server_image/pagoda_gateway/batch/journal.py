"""What was answered, written down as it is: after a crash nothing of it is asked again, and nothing of it is lost.

Each run of a batch has a log of its own, a line an answer. Several runs may have answered the same request: the first
of them in the order of the logs counts, for whoever reads.
"""

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from contextlib import suppress

import msgspec

from pagoda_gateway.batch import names
from pagoda_gateway.batch.records import Order, Tokens
from pagoda_gateway.batch.register import numbered
from pagoda_gateway.batch.store import Log, Store
from pagoda_guard.tasks import begin

log = logging.getLogger(__name__)

DONE = "done"
LOG = re.compile(r"journals/[^/]+/[^/]+/done-([0-9]{6})(?:/|$)", re.ASCII)
HELD_LIMIT_BYTES = 16 * 1024 * 1024
"""Answers that are not written yet; beyond it the next ones wait."""


class Done(msgspec.Struct, frozen=True, array_like=True):
    """One request that is over."""

    request: int
    succeeded: bool
    tokens: Tokens
    line: msgspec.Raw
    """Its line of the output file, or of the error file."""


class Journal:
    """The log of one run. What comes while something is being written is written together after it."""

    def __init__(self, log_of_run: Log, *, pause_seconds: float) -> None:
        self._log = log_of_run
        self._pause_seconds = pause_seconds
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._writing: asyncio.Task[None] | None = None

    async def add(self, done: Done) -> None:
        """Takes a line, and waits while too much is held. Raises StoreError when an earlier one could not be kept."""
        line = msgspec.json.encode(done) + b"\n"
        while self._held_bytes > HELD_LIMIT_BYTES:
            await self._write_some()
        self._held.append(line)
        self._held_bytes += len(line)
        self._begin_writing()

    async def flush(self) -> None:
        """Returns once all that was added is kept. Raises StoreError."""
        while self._held_bytes:
            await self._write_some()

    async def _write_some(self) -> None:
        await asyncio.wait({self._begin_writing()})
        self._begin_writing()

    def _begin_writing(self) -> asyncio.Task[None]:
        """Returns what writes. Raises the error by which that ended: a log that failed is not written any more."""
        if self._writing is not None and self._writing.done():
            self._writing.result()
            self._writing = None
        if self._writing is None:
            self._writing = begin(self._write_all())
        return self._writing

    async def close(self) -> None:
        """Keeps what it can. NB: what it cannot is answered again, by the next run."""
        try:
            self._pause_seconds = 0.0
            await self.flush()
        finally:
            await self._log.close()

    async def _write_all(self) -> None:
        while self._held:
            if self._pause_seconds:
                await asyncio.sleep(self._pause_seconds)
            lines, self._held = self._held, []
            await self._log.append(b"".join(lines))
            self._held_bytes -= sum(map(len, lines))


async def open_journal(store: Store, order: Order, run: int) -> Journal:
    name = names.journal(order.tenant, order.id, numbered(DONE, run))
    return Journal(await store.open_log(name), pause_seconds=store.append_pause_seconds)


async def find_runs(store: Store, order: Order) -> list[int]:
    """Returns the runs that have a log, in their order."""
    entries = await store.find(names.journal(order.tenant, order.id))
    return await asyncio.to_thread(read_runs, [entry.name for entry in entries])


def read_runs(found: list[str]) -> list[int]:
    return sorted({int(match[1]) for name in found if (match := LOG.match(name))})


async def read_journals(store: Store, order: Order) -> AsyncIterator[list[Done]]:
    """Yields what all runs have answered, some at a time; a request may be there more than once."""
    for run in await find_runs(store, order):
        name = names.journal(order.tenant, order.id, numbered(DONE, run))
        rest = b""
        async for block in store.read_log(name):
            lines = (rest + block).split(b"\n")
            rest = lines.pop()
            yield await asyncio.to_thread(decode_lines, lines)
        if rest:
            log.info("a line was cut off and is answered again batch=%s run=%d bytes=%d", order.id, run, len(rest))


def decode_lines(lines: list[bytes]) -> list[Done]:
    """Returns the lines that are whole. NB: after a power cut a file may end with anything."""
    found = []
    for line in lines:
        with suppress(msgspec.MsgspecError):
            found.append(msgspec.json.decode(line, type=Done))
    return found


class Tally:
    """Which requests are over, and with what success: each counts once."""

    def __init__(self, requests: int) -> None:
        self._over = bytearray(requests)
        self.completed = 0
        self.failed = 0
        self.tokens = Tokens()

    def __len__(self) -> int:
        return len(self._over)

    def is_over(self, request: int) -> bool:
        return bool(self._over[request])

    def add(self, done: Done) -> bool:
        """Returns False for one that was there before."""
        if not 0 <= done.request < len(self._over) or self._over[done.request]:
            return False
        self._over[done.request] = 1
        if done.succeeded:
            self.completed += 1
        else:
            self.failed += 1
        self.tokens += done.tokens
        return True

    @property
    def left(self) -> int:
        return len(self._over) - self.completed - self.failed
