"""Which request runs next: a FIFO bounded by requests and by estimated tokens, and nothing else.

Pure: the clock is an argument, no asyncio, no sockets. Every ticket is queued, running, finished or cancelled, and the
counts always add up to the tickets admitted. It must never hold more than its bounds.
"""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

RATE_WINDOW_SECONDS = 60.0
UNMEASURED_RETRY_SECONDS = 5
LONGEST_RETRY_SECONDS = 120


class TicketState(Enum):
    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"
    CANCELLED = "cancelled"


@dataclass(slots=True, eq=False)
class Ticket:
    number: int
    tokens: int
    arrived_at: float
    state: TicketState


class QueueFull(Exception):
    def __init__(self, *, reason: str, retry_after_seconds: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after_seconds = retry_after_seconds


class AdmissionQueue:
    def __init__(self, *, max_queued: int, max_queued_tokens: int, slots: int, clock: Callable[[], float]) -> None:
        self._max_queued = max_queued
        self._max_queued_tokens = max_queued_tokens
        self._slots = slots
        self._clock = clock
        self._queued: dict[int, Ticket] = {}
        self._finished_at: deque[float] = deque(maxlen=256)
        self.queued_tokens = 0
        self.running = 0
        self.admitted = 0
        self.finished = 0
        self.cancelled = 0

    @property
    def queued(self) -> int:
        return len(self._queued)

    @property
    def slots(self) -> int:
        return self._slots

    def can_start(self) -> bool:
        return not self._queued and self.running < self._slots

    def refusal(self, tokens: int) -> str | None:
        """Why a request of this size could not be taken now; None when it could."""
        if self.can_start():
            return None
        if self.queued >= self._max_queued:
            return "queue_full"
        return "queue_tokens_full" if self.queued_tokens + tokens > self._max_queued_tokens else None

    def check(self, tokens: int) -> None:
        """Raises QueueFull when a request of this size could not enter now."""
        if reason := self.refusal(tokens):
            raise QueueFull(reason=reason, retry_after_seconds=self.retry_after_seconds())

    def enter(self, tokens: int) -> Ticket:
        """A running ticket when a slot is free, else a queued one. Raises QueueFull."""
        self.check(tokens)
        starts = self.can_start()
        state = TicketState.RUNNING if starts else TicketState.QUEUED
        self.admitted += 1
        ticket = Ticket(number=self.admitted, tokens=tokens, arrived_at=self._clock(), state=state)
        if starts:
            self.running += 1
        else:
            self._queued[ticket.number] = ticket
            self.queued_tokens += tokens
        return ticket

    def grant(self) -> list[Ticket]:
        """Starts as many queued tickets as there are free slots, oldest first."""
        granted = []
        while self._queued and self.running < self._slots:
            ticket = self._queued.pop(next(iter(self._queued)))
            self.queued_tokens -= ticket.tokens
            self.running += 1
            ticket.state = TicketState.RUNNING
            granted.append(ticket)
        return granted

    def leave(self, ticket: Ticket) -> None:
        """A running ticket is finished, a queued one is cancelled; a second call changes nothing."""
        if ticket.state is TicketState.QUEUED:
            del self._queued[ticket.number]
            self.queued_tokens -= ticket.tokens
            self.cancelled += 1
            ticket.state = TicketState.CANCELLED
        elif ticket.state is TicketState.RUNNING:
            self.running -= 1
            self.finished += 1
            self._finished_at.append(self._clock())
            ticket.state = TicketState.FINISHED

    def resize(self, slots: int) -> None:
        """Fewer slots never stop what runs."""
        self._slots = slots

    def retry_after_seconds(self) -> int:
        """When a newcomer would have its turn, by the requests finished lately."""
        now = self._clock()
        recent = [at for at in self._finished_at if now - at <= RATE_WINDOW_SECONDS]
        if not recent:
            return UNMEASURED_RETRY_SECONDS
        finished_per_second = len(recent) / max(now - recent[0], 1.0)
        return min(max(math.ceil((self.queued + 1) / finished_per_second), 1), LONGEST_RETRY_SECONDS)
