"""Which request runs next: a line of tenants that take turns, bounded by sequences and by tokens, and nothing else.

Pure: the clock is an argument, no asyncio, no sockets. Every ticket is queued, running, finished or cancelled, and the
counts always add up to the tickets admitted. It must never hold more than its bounds.
"""

import math
from collections import Counter, deque
from collections.abc import Callable

from pagoda_gateway.line import Line, Ticket, TicketState
from pagoda_gateway.weight import Weight

RATE_WINDOW_SECONDS = 60.0
UNMEASURED_RETRY_SECONDS = 5
LONGEST_RETRY_SECONDS = 120
REASONS = {"sequences": "queue_full", "tokens": "queue_tokens_full"}


class QueueFull(Exception):
    def __init__(self, *, reason: str, retry_after_seconds: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after_seconds = retry_after_seconds


LARGEST_PART = 4
"""One request takes at most a quarter of the slots: its other sequences take turns with everyone's in the engine."""


class AdmissionQueue:
    """The slots are the server's rows: a request takes one for each of its sequences, up to a part of them.

    A tenant with less than an equal share of the slots need not wait until others leave theirs: the engine takes turns.
    """

    def __init__(self, *, max_queued: int, max_queued_tokens: int, slots: int, clock: Callable[[], float]) -> None:
        self.bounds = Weight(max_queued, max_queued_tokens)
        self._slots = slots
        self._clock = clock
        self._line = Line()
        self._reserved: Ticket | None = None
        """Whose turn it is: slots that come free are kept for it, however small the others are."""
        self._slots_of: Counter[str] = Counter()
        self._finished: deque[tuple[float, int]] = deque(maxlen=256)
        self.running = 0
        self.admitted = 0
        self.finished = 0
        self.cancelled = 0

    @property
    def queued(self) -> int:
        """Returns how many requests wait."""
        return len(self._line)

    @property
    def queued_sequences(self) -> int:
        return self._line.total.sequences

    @property
    def queued_tokens(self) -> int:
        return self._line.total.tokens

    @property
    def running_sequences(self) -> int:
        return self._slots_of.total()

    @property
    def slots(self) -> int:
        return self._slots

    def can_start(self, tenant: str, weight: Weight) -> bool:
        """Returns whether the request may run at once.

        NB: who is below its share passes those who wait, for they are not.
        """
        if self._line:
            return not self._line.holds(tenant) and self._is_below_share(tenant, weight)
        return self._has_slots(tenant, weight)

    def can_hold(self, weight: Weight) -> bool:
        """Returns False for what would not even fit into an empty queue."""
        return weight.find_excess(self.bounds) is None

    def plan_room(self, tenant: str, weight: Weight) -> list[Ticket]:
        """Returns whom to let go before this request enters; mostly nobody.

        Raises QueueFull when that gives no room.
        """
        return [] if self.can_start(tenant, weight) else self._plan_room(tenant, weight)

    def plan_growth(self, ticket: Ticket, weight: Weight) -> list[Ticket]:
        """Returns the same for a ticket that waits already and turns out to weigh this. Raises QueueFull."""
        return self._plan_room(ticket.tenant, weight.beyond(ticket.weight))

    def _plan_room(self, tenant: str, extra: Weight) -> list[Ticket]:
        let_go = self._line.plan_room(tenant, extra, self.bounds)
        if let_go is None:
            excess = (self._line.total + extra).find_excess(self.bounds)
            raise self.build_full(REASONS[excess or "sequences"], extra.sequences)
        return let_go

    def build_full(self, reason: str, sequences: int) -> QueueFull:
        return QueueFull(reason=reason, retry_after_seconds=self.retry_after_seconds(sequences))

    def enter(self, tenant: str, weight: Weight) -> Ticket:
        """Returns a running ticket when the slots are free, else a queued one. Raises QueueFull; lets nobody go."""
        starts = self.can_start(tenant, weight)
        if not starts and (excess := (self._line.total + weight).find_excess(self.bounds)):
            raise self.build_full(REASONS[excess], weight.sequences)
        self.admitted += 1
        ticket = Ticket(number=self.admitted, tenant=tenant, weight=weight, arrived_at=self._clock())
        if starts:
            self._start(ticket)
        else:
            self._line.add(ticket)
        return ticket

    def reweigh(self, ticket: Ticket, weight: Weight) -> None:
        """Puts a new weight in place of the old.

        NB: call it after `plan_growth`, and after those it named have left.
        """
        if ticket.state is TicketState.QUEUED:
            self._line.reweigh(ticket, weight)

    def grant(self) -> list[Ticket]:
        """Starts queued tickets, turn by turn, as long as the next one's slots are free."""
        granted = []
        while (ticket := self._find_next()) is not None and self._has_slots(ticket.tenant, ticket.weight):
            self._reserved = None
            self._line.take(ticket)
            self._start(ticket)
            granted.append(ticket)
        return granted

    def leave(self, ticket: Ticket) -> None:
        """Finishes a running ticket, cancels a queued one; a second call changes nothing."""
        if ticket.state is TicketState.QUEUED:
            self._line.remove(ticket)
            self._reserved = None if self._reserved is ticket else self._reserved
            self.cancelled += 1
            ticket.state = TicketState.CANCELLED
        elif ticket.state is TicketState.RUNNING:
            self._finish(ticket)

    def resize(self, slots: int) -> None:
        """Sets the number of slots; fewer never stop what runs."""
        self._slots = slots

    def retry_after_seconds(self, sequences: int = 1) -> int:
        """Returns after how long so many more would have had their turn, by the sequences finished lately."""
        now = self._clock()
        recent = [(at, count) for at, count in self._finished if now - at <= RATE_WINDOW_SECONDS]
        if not recent:
            return UNMEASURED_RETRY_SECONDS
        finished_per_second = sum(count for _, count in recent) / max(now - recent[0][0], 1.0)
        seconds = math.ceil((self.queued_sequences + sequences) / finished_per_second)
        return min(max(seconds, 1), LONGEST_RETRY_SECONDS)

    def _find_next(self) -> Ticket | None:
        if self._reserved is None:
            self._reserved = self._line.find_next(self._slots_of)
        return self._reserved

    def _has_slots(self, tenant: str, weight: Weight) -> bool:
        is_free = self.running_sequences + self._slots_for(weight) <= self._slots
        return is_free or self._is_below_share(tenant, weight)

    def _is_below_share(self, tenant: str, weight: Weight) -> bool:
        """Returns True when with this request too it would hold no more than each of the tenants could."""
        tenants = len(self._slots_of.keys() | {tenant})
        return self._slots_of[tenant] + self._slots_for(weight) <= self._slots // tenants

    def _slots_for(self, weight: Weight) -> int:
        return max(min(weight.sequences, self._slots // LARGEST_PART), 1)

    def _start(self, ticket: Ticket) -> None:
        ticket.slots = self._slots_for(ticket.weight)
        ticket.state = TicketState.RUNNING
        self._slots_of[ticket.tenant] += ticket.slots
        self.running += 1

    def _finish(self, ticket: Ticket) -> None:
        self._slots_of[ticket.tenant] -= ticket.slots
        if not self._slots_of[ticket.tenant]:
            del self._slots_of[ticket.tenant]
        self._finished.append((self._clock(), ticket.weight.sequences))
        self.running -= 1
        self.finished += 1
        ticket.state = TicketState.FINISHED
