"""Which batches this gateway runs: those that nobody owns, a few at a time, the tenants in turn.

It also removes what is over. One that fails is let go and taken again, here or elsewhere; it never ends the others.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable

from pagoda_gateway.batch.cleaning import Cleaner
from pagoda_gateway.batch.lease import Watcher
from pagoda_gateway.batch.records import Order, Status
from pagoda_gateway.batch.run import BatchRun, Workplace
from pagoda_gateway.batch.store import StoreError
from pagoda_guard.tasks import Tasks

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
UNREADY_SECONDS = 0.25
OWNED = 4
"""Batches that one gateway runs at a time; another may take the next."""
FAILED_PAUSE_SECONDS = 15.0
CLEAN_SECONDS = 600.0


class Runner:
    def __init__(self, place: Workplace, watcher: Watcher, tasks: Tasks, *, is_ready: Callable[[], bool]) -> None:
        self._place = place
        self._watcher = watcher
        self._tasks = tasks
        self._is_ready = is_ready
        self._cleaner = Cleaner(place.store, place.files, place.register, place.metrics, now=place.now)
        self._runs: dict[str, BatchRun] = {}
        self._not_before: dict[str, float] = {}
        self._cleaned_at = float("-inf")
        self._woken = asyncio.Event()
        self.active = 0
        """Batches of all gateways that are not at their end, as this one saw last."""

    def count_statuses(self) -> Counter[Status]:
        return Counter(run.progress.status for run in self._runs.values())

    def wake(self, batch_id: str) -> None:
        """Has it look at once: this batch is new, or to be cancelled."""
        if (run := self._runs.get(batch_id)) is not None:
            run.hurry()
        self._woken.set()

    async def watch(self) -> None:
        while True:
            try:
                await self.look()
            except StoreError as error:
                self._place.metrics.count_store_failure("look")
                log.warning("the store of batches cannot be read error=%s", error)
            self._woken.clear()
            try:
                async with asyncio.timeout(LOOK_SECONDS if self._is_ready() else UNREADY_SECONDS):
                    await self._woken.wait()
            except TimeoutError:
                continue

    async def look(self) -> None:
        """Takes what nobody owns. Raises StoreError."""
        if self._place.drain.draining or not self._is_ready():
            return
        active = await self._place.register.find_active()
        self.active = len(active)
        self._watcher.forget_all_but({batch_id for _, batch_id in active})
        for tenant, batch_id in self._order(active):
            if len(self._runs) >= OWNED:
                break
            await self._try_take(tenant, batch_id)
        if self._place.clock() - self._cleaned_at >= CLEAN_SECONDS:
            self._cleaned_at = self._place.clock()
            await self._cleaner.clean()

    def _order(self, active: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """Returns those that may be taken: of the tenant with the fewest here first, the oldest of each first."""
        held = Counter(run.order.tenant for run in self._runs.values())
        free = [pair for pair in active if pair[1] not in self._runs and self._may_take(pair[1])]
        return sorted(free, key=lambda pair: (held[pair[0]], pair[1]))

    def _may_take(self, batch_id: str) -> bool:
        return self._not_before.get(batch_id, 0.0) <= self._place.clock()

    async def _try_take(self, tenant: str, batch_id: str) -> None:
        order = await self._place.register.read_order(tenant, batch_id)
        if order is None:
            await self._cleaner.clean_mark(tenant, batch_id)
            return
        if (lease := await self._watcher.try_take(order)) is None:
            return
        log.info("batch is taken batch=%s run=%d", batch_id, lease.run)
        run = BatchRun(self._place, lease)
        self._runs[batch_id] = run
        self._tasks.spawn("batch", self._run(order, run))

    async def _run(self, order: Order, run: BatchRun) -> None:
        try:
            await run.run()
            self._not_before.pop(order.id, None)
        except StoreError as error:
            self._place.metrics.count_store_failure("run")
            self._not_before[order.id] = self._place.clock() + FAILED_PAUSE_SECONDS
            log.warning("a batch is let go, and taken again later batch=%s error=%s", order.id, error)
        except Exception:
            self._not_before[order.id] = self._place.clock() + FAILED_PAUSE_SECONDS
            raise
        finally:
            del self._runs[order.id]
            self._woken.set()
