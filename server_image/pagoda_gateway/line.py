"""Who waits, in the order of their turns: tenants take turns, and each tenant's requests keep their order.

Pure. The next turn belongs to the tenant with the minimum number of the server's slots now, and of several such tenants
to the one whose last turn is longest ago. When the line is full, room for a newcomer is made only by those who hold
more than it would.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from itertools import islice

from pagoda_gateway.weight import NOTHING, Weight


class TicketState(Enum):
    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"
    CANCELLED = "cancelled"


@dataclass(slots=True, eq=False)
class Ticket:
    number: int
    tenant: str
    weight: Weight
    arrived_at: float
    state: TicketState = TicketState.QUEUED
    slots: int = 0
    """How many it has of the server's, while it runs."""


class Line:
    def __init__(self) -> None:
        self._tickets: dict[str, dict[int, Ticket]] = {}
        """Tenants in the order of their turns; the tickets of each, oldest first."""
        self._held: dict[str, Weight] = {}
        self.total = NOTHING
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def holds(self, tenant: str) -> bool:
        return tenant in self._tickets

    def held_by(self, tenant: str) -> Weight:
        return self._held.get(tenant, NOTHING)

    def add(self, ticket: Ticket) -> None:
        self._tickets.setdefault(ticket.tenant, {})[ticket.number] = ticket
        self._length += 1
        self._count(ticket.tenant, ticket.weight)

    def remove(self, ticket: Ticket) -> None:
        tickets = self._tickets[ticket.tenant]
        del tickets[ticket.number]
        self._length -= 1
        self._count(ticket.tenant, NOTHING - ticket.weight)
        if not tickets:
            del self._tickets[ticket.tenant], self._held[ticket.tenant]

    def reweigh(self, ticket: Ticket, weight: Weight) -> None:
        self._count(ticket.tenant, weight - ticket.weight)
        ticket.weight = weight

    def _count(self, tenant: str, change: Weight) -> None:
        self._held[tenant] = self.held_by(tenant) + change
        self.total += change

    def find_next(self, slots: Mapping[str, int]) -> Ticket | None:
        """Returns the ticket whose turn it is; `slots` are those that each tenant has now."""
        if not self._tickets:
            return None
        tenant = min(self._tickets, key=lambda name: slots.get(name, 0))
        return next(iter(self._tickets[tenant].values()))

    def take(self, ticket: Ticket) -> None:
        """Removes a ticket that has had its turn: its tenant's next comes after everyone else's."""
        self.remove(ticket)
        if tickets := self._tickets.pop(ticket.tenant, None):
            self._tickets[ticket.tenant] = tickets

    def plan_room(self, tenant: str, extra: Weight, bounds: Weight) -> list[Ticket] | None:
        """Returns whom to let go so that this tenant can have so much more; None when nobody has to give way.

        Those who give way are, one after another, the latest of the tenant that holds the maximum, while that is more
        than this tenant would hold. Each tenant keeps its oldest: its turn is not taken away.
        """
        let_go: list[Ticket] = []
        total, wanted = self.total + extra, self.held_by(tenant) + extra
        held = {name: weight for name, weight in self._held.items() if name != tenant}
        latest: dict[str, Iterator[Ticket]] = {}
        while measure := total.find_excess(bounds):
            giver = max(held, key=lambda name: held[name].of(measure), default=None)
            if giver is None or held[giver].of(measure) <= wanted.of(measure):
                return None
            if (ticket := next(latest.setdefault(giver, self._latest_first(giver)), None)) is None:
                del held[giver]
                continue
            let_go.append(ticket)
            held[giver] -= ticket.weight
            total -= ticket.weight
        return let_go

    def _latest_first(self, tenant: str) -> Iterator[Ticket]:
        """Yields all of the tenant's tickets but the oldest, the latest first."""
        tickets = self._tickets[tenant]
        return islice(reversed(tickets.values()), len(tickets) - 1)
