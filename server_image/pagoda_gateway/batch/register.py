"""The batches of each tenant in the store: made by one gateway, run by another, shown by any.

Each run of a batch has a number, its lease's (`lease.py`), and writes only objects with that number: an owner that was
taken for dead, and is not, writes what nobody reads any more.
"""

import asyncio
import re
from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from pagoda_gateway.batch import names
from pagoda_gateway.batch.files import READS_AT_ONCE, Page
from pagoda_gateway.batch.records import Order, Progress
from pagoda_gateway.batch.store import Store, StoreError

ORDER, CANCEL, STATE = "order", "cancel", "state"
NUMBERED = re.compile(r".*/(state|owner)-([0-9]{6})", re.ASCII)

T = TypeVar("T")


def numbered(part: str, run: int) -> str:
    return f"{part}-{run:06d}"


def decode(name: str, raw: bytes, kind: type[T]) -> T:
    """Raises StoreError for what somebody else wrote."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.MsgspecError as error:
        raise StoreError(f"{name}: {error}") from error


class Register:
    def __init__(self, store: Store, *, now: Callable[[], float]) -> None:
        self._store = store
        self._now = now

    async def add(self, order: Order) -> None:
        """NB: the mark comes first, for a batch without it would never run; one without an order is nothing."""
        await self._store.put(names.active_mark(order.tenant, order.id), b"")
        await self._store.put(names.batch_part(order.tenant, order.id, ORDER), msgspec.json.encode(order))

    async def read_order(self, tenant: str, batch_id: str) -> Order | None:
        raw = await self._store.get(name := names.batch_part(tenant, batch_id, ORDER))
        return None if raw is None else decode(name, raw, Order)

    async def find(self, tenant: str, batch_id: str) -> tuple[Order, Progress] | None:
        """Returns a batch as it is now, None when the tenant has no such one."""
        if not names.is_id("batch", batch_id):
            return None
        order = await self.read_order(tenant, batch_id)
        if order is None:
            return None
        progress = await self.read_progress(order)
        if not progress.has_ended and progress.status != "cancelling":
            cancelled_at = await self.read_cancel(order)
            if cancelled_at is not None:
                progress = progress.at("cancelling", cancelled_at)
        return order, progress

    async def read_progress(self, order: Order) -> Progress:
        """Returns how far the last run is that wrote something."""
        runs = await self.find_numbers(order, STATE)
        if not runs:
            return Progress()
        name = names.batch_part(order.tenant, order.id, numbered(STATE, runs[-1]))
        raw = await self._store.get(name)
        return Progress() if raw is None else decode(name, raw, Progress)

    async def write_progress(self, order: Order, run: int, progress: Progress) -> None:
        name = names.batch_part(order.tenant, order.id, numbered(STATE, run))
        await self._store.put(name, msgspec.json.encode(progress))

    async def find_numbers(self, order: Order, part: str) -> list[int]:
        """Returns the runs of which there is such a part, in their order."""
        entries = await self._store.find(f"{names.batches_of(order.tenant)}/{order.id}")
        matches = (NUMBERED.fullmatch(entry.name) for entry in entries)
        return sorted({int(found[2]) for found in matches if found and found[1] == part})

    async def cancel(self, order: Order) -> None:
        """Asks for the end of a batch, wherever it runs."""
        now = msgspec.json.encode(int(self._now()))
        await self._store.create(names.batch_part(order.tenant, order.id, CANCEL), now)

    async def read_cancel(self, order: Order) -> int | None:
        """Returns when the end was asked for."""
        name = names.batch_part(order.tenant, order.id, CANCEL)
        raw = await self._store.get(name)
        return None if raw is None else decode(name, raw, int)

    async def end(self, tenant: str, batch_id: str) -> None:
        """Notes that nothing more is to be done for a batch, whose journals nobody needs any more."""
        await self._store.delete_below(names.journal(tenant, batch_id))
        await self._store.delete(names.active_mark(tenant, batch_id))

    async def find_active(self, tenant: str | None = None) -> list[tuple[str, str]]:
        """Returns tenant and id of the batches that are not at their end, of one tenant or of all."""
        entries = await self._store.find(names.ACTIVE if tenant is None else f"{names.ACTIVE}/{tenant}")
        return [names.split_mark(entry.name) for entry in entries]

    async def find_user_of(self, tenant: str, file_id: str) -> str | None:
        """Returns a batch that is not at its end and needs this file."""
        for _, batch_id in await self.find_active(tenant):
            order = await self.read_order(tenant, batch_id)
            if order is not None and order.input_file_id == file_id:
                return batch_id
        return None

    async def list(self, tenant: str, *, after: str | None, limit: int) -> Page[tuple[Order, Progress]]:
        """Returns the newest first, as OpenAI does."""
        entries = await self._store.find(names.batches_of(tenant))
        ids = [entry.name.split("/")[-2] for entry in entries if entry.name.endswith(f"/{ORDER}")][::-1]
        if after is not None:
            ids = ids[ids.index(after) + 1 :] if after in ids else []
        shown = ids[:limit]
        found: list[tuple[Order, Progress]] = []
        for start in range(0, len(shown), READS_AT_ONCE):
            part = await asyncio.gather(*(self.find(tenant, one) for one in shown[start : start + READS_AT_ONCE]))
            found += [batch for batch in part if batch is not None]
        return Page(found, has_more=len(ids) > limit)

    async def remove(self, tenant: str, batch_id: str) -> None:
        await self._store.delete_below(names.journal(tenant, batch_id))
        await self._store.delete_below(f"{names.batches_of(tenant)}/{batch_id}")

    async def find_ids(self) -> Sequence[tuple[str, str]]:
        """Returns tenant and id of all batches of all tenants."""
        entries = await self._store.find("batches")
        return sorted({(parts[1], parts[2]) for entry in entries if len(parts := entry.name.split("/")) >= 4})
