"""The life of one batch at its owner: its lines are judged, its requests answered, its files written.

    validating → in_progress → finalizing → completed
         ↓            ↓ cancelling → cancelled, or expired
       failed

Each step begins where the one before it was written down, so that whoever takes the batch over goes on there.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import Any

from pagoda_gateway.batch import names
from pagoda_gateway.batch.answering import Answering
from pagoda_gateway.batch.call import Server
from pagoda_gateway.batch.files import Files
from pagoda_gateway.batch.journal import Done, Journal, Tally, open_journal, read_journals
from pagoda_gateway.batch.lease import RENEW_SECONDS, Lease
from pagoda_gateway.batch.lines import Expected, Index, Scanner, read_line
from pagoda_gateway.batch.metrics import BatchMetrics
from pagoda_gateway.batch.output import Assembly, build_error_line, build_request_id
from pagoda_gateway.batch.records import LineError, Order, Progress, Status, Tokens
from pagoda_gateway.batch.register import Register
from pagoda_gateway.batch.source import Source
from pagoda_gateway.batch.store import Missing, Store, StoreError
from pagoda_gateway.batch.turns import Turns
from pagoda_gateway.drain import Drain
from pagoda_guard.tasks import begin

log = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
"""How often the owner looks whether somebody wants the batch ended, and writes down how far it is."""
SOME = 1000


class Stop(Enum):
    """Why a batch does not go on."""

    CANCEL = "cancel"
    EXPIRE = "expire"
    LEAVE = "leave"


@dataclass(frozen=True, slots=True)
class Workplace:
    """What all runs of one gateway share."""

    store: Store
    files: Files
    register: Register
    server: Server
    turns: Turns
    drain: Drain
    metrics: BatchMetrics
    model: str
    line_bytes: int
    requests: int
    now: Callable[[], float]
    clock: Callable[[], float]


async def end_all(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class BatchRun:
    def __init__(self, place: Workplace, lease: Lease) -> None:
        self.order: Order = lease.order
        self.progress = Progress()
        self._place = place
        self._lease = lease
        self._source = Source(place.store, names.file_content(self.order.tenant, self.order.input_file_id))
        self._written = self.progress
        self._tally: Tally | None = None
        self._hurried = asyncio.Event()

    def hurry(self) -> None:
        """Has it look at once whether it is to go on."""
        self._hurried.set()

    async def run(self) -> None:
        """Works until the batch is at its end, or another has it. Raises StoreError.

        Whatever ends it, nothing of it runs any more, and the lease is let go if it is still held.
        """
        working, keeping = begin(self._work()), begin(self._keep_lease())
        try:
            await asyncio.wait({working, keeping}, return_when=asyncio.FIRST_COMPLETED)
            for task in (working, keeping):
                if task.done():
                    task.result()
        finally:
            await end_all(working, keeping)
            if self._lease.is_held():
                await asyncio.shield(self._lease.release())

    async def _keep_lease(self) -> None:
        """Returns when the batch is another's. Raises StoreError when it may be."""
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            try:
                if not await self._lease.renew():
                    log.warning("a batch is another's now batch=%s run=%d", self.order.id, self._lease.run)
                    return
            except StoreError as error:
                if not self._lease.is_held():
                    raise
                self._place.metrics.count_store_failure("renew")
                log.warning("the lease of a batch is not renewed yet batch=%s error=%s", self.order.id, error)

    async def _work(self) -> None:
        self.progress = self._written = await self._place.register.read_progress(self.order)
        if self.progress.has_ended:
            await self._place.register.end(self.order.tenant, self.order.id)
            return
        index = await self._scan()
        if index is None:
            return
        stop = None
        if self.progress.status == "in_progress":
            stop = await self._answer(index)
        if stop is not Stop.LEAVE and await self._lease.renew():
            await self._finish(index, stop)

    async def _scan(self) -> Index | None:
        """Returns where the requests are, None when the batch has failed for what its file is."""
        place = self._place
        scanner = Scanner(Expected(self.order.endpoint, place.model, place.line_bytes, place.requests))
        try:
            await self._source.scan(scanner)
        except Missing:
            message = f"The input file {self.order.input_file_id} is not there any more."
            scanner.errors.append(LineError(code="input_file_missing", message=message, param="input_file_id"))
        if scanner.errors:
            await self._end("failed", total=0, errors=tuple(scanner.errors))
            return None
        if self.progress.status == "validating":
            await self._write(self.progress.at("in_progress", place.now(), total=len(scanner.index)))
        return scanner.index

    async def _answer(self, index: Index) -> Stop | None:
        """Returns None once every request has its line."""
        self._tally = tally = await self._read_tally(len(index))
        if self._place.now() >= self.order.expires_at:
            return Stop.EXPIRE
        journal = await open_journal(self._place.store, self.order, self._lease.run)
        try:
            return await self._answer_until_stopped(self._build_answering(index, tally, journal))
        finally:
            await journal.close()

    async def _answer_until_stopped(self, answering: Answering) -> Stop | None:
        working, watching = begin(answering.run()), begin(self._wait_for_stop())
        try:
            await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                return watching.result()
            return None if working.result() else Stop.LEAVE
        finally:
            await end_all(working, watching)

    def _build_answering(self, index: Index, tally: Tally, journal: Journal) -> Answering:
        place = self._place
        return Answering(
            self.order,
            tally,
            source=self._source,
            index=index,
            journal=journal,
            server=place.server,
            turns=place.turns,
            drain=place.drain,
            metrics=place.metrics,
            clock=place.clock,
        )

    async def _wait_for_stop(self) -> Stop:
        """Writes down how far the batch is, until it is not to go on.

        NB: what a store that fails means is the lease's to judge.
        """
        place = self._place
        while place.now() < self.order.expires_at:
            try:
                if await place.register.read_cancel(self.order) is not None:
                    return Stop.CANCEL
                await self._write(self._count(self.progress))
            except StoreError as error:
                place.metrics.count_store_failure("progress")
                log.warning("the progress of a batch is not written batch=%s error=%s", self.order.id, error)
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._hurried.wait()
            self._hurried.clear()
        return Stop.EXPIRE

    def _count(self, progress: Progress) -> Progress:
        if (tally := self._tally) is None:
            return progress
        return progress.counted(len(tally), tally.completed, tally.failed, tally.tokens)

    async def _read_tally(self, requests: int) -> Tally:
        tally = Tally(requests)
        async for some in read_journals(self._place.store, self.order):
            for done in some:
                tally.add(done)
        return tally

    async def _finish(self, index: Index, stop: Stop | None) -> None:
        """Writes the files and the end of the batch."""
        if stop is None and self.progress.status == "in_progress":
            await self._write(self._count(self.progress).at("finalizing", self._place.now()))
        stamp, end = await self._find_end(stop)
        assembly = Assembly(self._place.store, self._place.files, self.order, stamp=stamp, now=self._place.now)
        dones = self._read_all(index, with_the_rest=end == "expired")
        tally = await assembly.write(dones, len(index))
        output_id, error_id = await assembly.show()
        for _ in filter(None, (output_id, error_id)):
            self._place.metrics.count_file("written")
        self._tally = tally
        await self._end(end, output_file_id=output_id, error_file_id=error_id)

    async def _find_end(self, stop: Stop | None) -> tuple[int, Status]:
        """Returns a time that is the same whenever this is asked, and how the batch ends."""
        if stop is Stop.CANCEL or self.progress.status == "cancelling":
            cancelled_at = await self._place.register.read_cancel(self.order) or 0
            await self._write(self._count(self.progress).at("cancelling", cancelled_at))
            return cancelled_at, "cancelled"
        if stop is Stop.EXPIRE:
            return self.order.expires_at, "expired"
        return self.progress.finalizing_at or 0, "completed"

    async def _read_all(self, index: Index, *, with_the_rest: bool) -> AsyncIterator[list[Done]]:
        """Yields what was answered, and then a line for each request that was not."""
        tally = Tally(len(index))
        async for some in read_journals(self._place.store, self.order):
            for done in some:
                tally.add(done)
            yield some
        rest: list[Done] = []
        for request in range(len(index) if with_the_rest else 0):
            if not tally.is_over(request):
                rest.append(await self._build_expired(index, request))
            if len(rest) >= SOME:
                yield rest
                rest = []
        yield rest

    async def _build_expired(self, index: Index, request: int) -> Done:
        line = read_line(await self._source.read(index, request))
        message = "The batch's completion window was over before this request was answered."
        text = build_error_line(build_request_id(), line.custom_id, "batch_expired", message)
        return Done(request, False, Tokens(), text)

    async def _end(self, status: Status, **changes: object) -> None:
        progress = self._count(self.progress).at(status, self._place.now(), **changes)
        await self._write(progress)
        await self._place.register.end(self.order.tenant, self.order.id)
        self._place.metrics.count_ended(status)
        log.info(
            "batch ends batch=%s status=%s completed=%d failed=%d",
            *(self.order.id, status, progress.completed, progress.failed),
        )

    async def _write(self, progress: Progress) -> None:
        self.progress = progress
        if progress != self._written:
            await self._place.register.write_progress(self.order, self._lease.run, progress)
            self._written = progress
