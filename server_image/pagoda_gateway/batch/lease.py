"""Who runs a batch: one gateway at a time, as long as it says so again and again.

A lease is a row of numbered objects. Whoever creates the next number is the owner, and only the owner writes it again.
Nobody compares clocks of two machines: a gateway takes over when the owner's object has not changed for as long as a
lease lasts by its own clock, and an owner that could not write for that long stops by its own.
"""

from collections.abc import Callable
from secrets import token_hex

import msgspec

from pagoda_gateway.batch import names
from pagoda_gateway.batch.records import Order
from pagoda_gateway.batch.register import Register, decode, numbered
from pagoda_gateway.batch.store import Store

LEASE_SECONDS = 30.0
RENEW_SECONDS = 8.0
STOP_SECONDS = 24.0
"""An owner that could not renew for so long stops: earlier than any other may take over."""
OWNER = "owner"


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    token: str
    beat: int = 0
    released: bool = False


class Lease:
    """One gateway's hold on a batch. `run` is its number; later numbers go before earlier ones."""

    def __init__(self, store: Store, order: Order, run: int, *, clock: Callable[[], float]) -> None:
        self.order = order
        self.run = run
        self._store = store
        self._clock = clock
        self._held = Holder(token=token_hex(16))
        self._renewed_at = clock()

    @property
    def _name(self) -> str:
        return names.batch_part(self.order.tenant, self.order.id, numbered(OWNER, self.run))

    async def take(self) -> bool:
        """Returns False when another was first."""
        self._renewed_at = self._clock()
        return await self._store.create(self._name, msgspec.json.encode(self._held))

    async def renew(self) -> bool:
        """Returns False when the lease is another's by now. Raises StoreError when that cannot be told."""
        began_at = self._clock()
        following = names.batch_part(self.order.tenant, self.order.id, numbered(OWNER, self.run + 1))
        if not self.is_held() or await self._store.get(following) is not None:
            return False
        self._held = msgspec.structs.replace(self._held, beat=self._held.beat + 1)
        await self._store.put(self._name, msgspec.json.encode(self._held))
        self._renewed_at = began_at
        return True

    def is_held(self) -> bool:
        """Returns False once it was not renewed for so long that another may think its owner dead."""
        return self._clock() - self._renewed_at < STOP_SECONDS

    async def release(self) -> None:
        """Lets another take the batch at once."""
        released = msgspec.structs.replace(self._held, released=True)
        await self._store.put(self._name, msgspec.json.encode(released))


class Watcher:
    """What a gateway has seen of the leases of others, and since when."""

    def __init__(self, store: Store, register: Register, *, clock: Callable[[], float]) -> None:
        self._store = store
        self._register = register
        self._clock = clock
        self._seen: dict[str, tuple[int, bytes, float]] = {}

    async def try_take(self, order: Order) -> Lease | None:
        """Returns a lease when the batch has no owner, or one that has not moved for as long as a lease lasts."""
        runs = await self._register.find_numbers(order, OWNER)
        if runs and not await self._is_over(order, runs[-1]):
            return None
        lease = Lease(self._store, order, runs[-1] + 1 if runs else 1, clock=self._clock)
        if not await lease.take():
            return None
        self._seen.pop(order.id, None)
        return lease

    def forget_all_but(self, batch_ids: set[str]) -> None:
        for batch_id in self._seen.keys() - batch_ids:
            del self._seen[batch_id]

    async def _is_over(self, order: Order, run: int) -> bool:
        name = names.batch_part(order.tenant, order.id, numbered(OWNER, run))
        raw = await self._store.get(name) or b""
        if raw and decode(name, raw, Holder).released:
            return True
        known = self._seen.get(order.id)
        if known is None or known[:2] != (run, raw):
            self._seen[order.id] = (run, raw, self._clock())
            return False
        return self._clock() - known[2] >= LEASE_SECONDS
