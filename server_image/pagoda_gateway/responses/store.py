"""Answers that are kept for a while, within bounds on their number, their bytes, each tenant's share, and their age.

Pure but for the clock. Nobody reads what another tenant made. An answer goes no earlier than one that was used before
it, and none goes before the answers that were made from it: its tenant's, where that has more than its share.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

OVERHEAD_BYTES = 512
"""What an answer takes beside its texts."""


@dataclass(frozen=True, slots=True)
class Kept:
    """One answer, with what was asked beyond the answer before it."""

    id: str
    previous: str | None
    items: tuple[bytes, ...]
    """The items of the input, each as JSON with an id."""
    body: bytes
    """The response as its client got it, but for what says that it is kept."""

    @property
    def size(self) -> int:
        return OVERHEAD_BYTES + len(self.body) + sum(map(len, self.items))


class Responses(Protocol):
    """Where answers are kept. The relay knows no more of it, so that replicas may come to share one."""

    def put(self, tenant: str, kept: Kept) -> None:
        """Keeps an answer, if there is or can be made room for it."""

    def get(self, tenant: str, response_id: str) -> Kept | None: ...

    def list_chain(self, tenant: str, response_id: str) -> list[Kept] | None:
        """Returns the answer and all those before it, the first one first; None where one of them is not kept."""

    def delete(self, tenant: str, response_id: str) -> bool:
        """Returns False where there is none."""

    def sweep(self) -> None:
        """Lets go what nobody has used for so long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    count: int
    total_bytes: int
    seconds: float
    """Since an answer was used last."""
    tenant_share: float = 1.0


@dataclass(slots=True)
class _Entry:
    kept: Kept
    used_at: float


class _Shelf:
    """One tenant's answers, the one that goes first at the front."""

    def __init__(self) -> None:
        self.entries: OrderedDict[str, _Entry] = OrderedDict()
        self.bytes = 0

    def remove(self, response_id: str) -> Kept:
        kept = self.entries.pop(response_id).kept
        self.bytes -= kept.size
        return kept

    def walk(self, response_id: str) -> Iterator[_Entry]:
        """Yields the answer, the one before it, and so on, as far as they are kept, and each once."""
        seen: set[str] = set()
        next_id: str | None = response_id
        while next_id is not None and next_id not in seen and (entry := self.entries.get(next_id)):
            yield entry
            seen.add(next_id)
            next_id = entry.kept.previous


class MemoryResponses:
    def __init__(self, bounds: Bounds, *, clock: Callable[[], float]) -> None:
        self._bounds = bounds
        self._clock = clock
        self._shelves: dict[str, _Shelf] = {}
        self.count = 0
        self.bytes = 0

    def put(self, tenant: str, kept: Kept) -> None:
        self.delete(tenant, kept.id)
        share = self._bounds.tenant_share
        if not self._make_room(tenant, kept.size, self._bounds.count * share, self._bounds.total_bytes * share):
            return
        shelf = self._shelves.setdefault(tenant, _Shelf())
        shelf.entries[kept.id] = _Entry(kept, self._clock())
        shelf.bytes += kept.size
        self.count += 1
        self.bytes += kept.size
        self._use(shelf, kept.id)

    def get(self, tenant: str, response_id: str) -> Kept | None:
        self.sweep()
        shelf = self._shelves.get(tenant)
        entry = None if shelf is None else shelf.entries.get(response_id)
        return None if entry is None else entry.kept

    def list_chain(self, tenant: str, response_id: str) -> list[Kept] | None:
        self.sweep()
        shelf = self._shelves.get(tenant)
        if shelf is None:
            return None
        chain = [entry.kept for entry in shelf.walk(response_id)]
        if not chain or chain[-1].previous is not None:
            return None
        self._use(shelf, response_id)
        return chain[::-1]

    def delete(self, tenant: str, response_id: str) -> bool:
        self.sweep()
        shelf = self._shelves.get(tenant)
        if shelf is None or response_id not in shelf.entries:
            return False
        self._remove(tenant, response_id)
        return True

    def sweep(self) -> None:
        before = self._clock() - self._bounds.seconds
        for tenant, shelf in list(self._shelves.items()):
            while shelf.entries and next(iter(shelf.entries.values())).used_at < before:
                self._remove(tenant, next(iter(shelf.entries)))

    def _use(self, shelf: _Shelf, response_id: str) -> None:
        """Notes that a whole chain is used now. NB: the first answer of it last, since the others are worth nothing
        without it.
        """
        now = self._clock()
        for entry in list(shelf.walk(response_id)):
            entry.used_at = now
            shelf.entries.move_to_end(entry.kept.id)

    def _make_room(self, tenant: str, size: int, own_count: float, own_bytes: float) -> bool:
        self.sweep()
        if size > own_bytes or own_count < 1:
            return False
        while (shelf := self._shelves.get(tenant)) and (
            len(shelf.entries) + 1 > own_count or shelf.bytes + size > own_bytes
        ):
            self._remove(tenant, next(iter(shelf.entries)))
        while self.count + 1 > self._bounds.count or self.bytes + size > self._bounds.total_bytes:
            largest = max(self._shelves, key=lambda name: self._shelves[name].bytes)
            self._remove(largest, next(iter(self._shelves[largest].entries)))
        return True

    def _remove(self, tenant: str, response_id: str) -> None:
        shelf = self._shelves[tenant]
        kept = shelf.remove(response_id)
        self.count -= 1
        self.bytes -= kept.size
        if not shelf.entries:
            del self._shelves[tenant]
