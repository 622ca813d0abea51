"""The waiting side of the queue: turns the pure queue's decisions into wake-ups of the requests that wait.

It decides nothing: order and bounds are the queue's. Whoever entered must leave, or slots are lost.
"""

import asyncio

from pagoda_gateway.line import Ticket, TicketState
from pagoda_gateway.queue import AdmissionQueue, QueueFull
from pagoda_gateway.weight import Weight


class Gate:
    def __init__(self, queue: AdmissionQueue) -> None:
        self.queue = queue
        self._waiters: dict[int, asyncio.Future[Exception | None]] = {}
        """The waiter of each ticket that was queued: its result is None once it runs, or why it will not."""

    def enter(self, tenant: str, weight: Weight) -> Ticket:
        """Returns a ticket that runs or waits, and lets go whoever gives way to it. Raises QueueFull."""
        self._let_go(self.queue.plan_room(tenant, weight))
        ticket = self.queue.enter(tenant, weight)
        if ticket.state is TicketState.QUEUED:
            self._waiters[ticket.number] = asyncio.get_running_loop().create_future()
        return ticket

    async def wait(self, ticket: Ticket, *, seconds: float) -> bool:
        """Returns True once the ticket runs, False when the seconds passed first. Raises what it was dismissed with."""
        if waiter := self._waiters.get(ticket.number):
            await asyncio.wait({waiter}, timeout=max(seconds, 0.0))
            if waiter.done() and (reason := waiter.result()):
                raise reason
        return ticket.state is TicketState.RUNNING

    def weigh(self, ticket: Ticket, weight: Weight) -> None:
        """Puts a ticket's exact weight in place of its estimate, and dismisses it when there is no room for that."""
        if ticket.state is not TicketState.QUEUED:
            return
        try:
            self._let_go(self.queue.plan_growth(ticket, weight))
        except QueueFull as full:
            self.dismiss(ticket, full)
            return
        self.queue.reweigh(ticket, weight)
        self._wake()

    def dismiss(self, ticket: Ticket, reason: Exception) -> None:
        """Makes the ticket's waiter raise the reason; one that runs already is let run."""
        if ticket.state is TicketState.QUEUED:
            self.queue.leave(ticket)
            self._tell(ticket, reason)
            self._wake()

    def leave(self, ticket: Ticket) -> None:
        self._waiters.pop(ticket.number, None)
        self.queue.leave(ticket)
        self._wake()

    def resize(self, slots: int) -> None:
        if slots != self.queue.slots:
            self.queue.resize(slots)
            self._wake()

    def _let_go(self, tickets: list[Ticket]) -> None:
        for ticket in tickets:
            self.queue.leave(ticket)
            self._tell(ticket, self.queue.build_full("queue_share", ticket.weight.sequences))

    def _wake(self) -> None:
        for ticket in self.queue.grant():
            self._tell(ticket, None)

    def _tell(self, ticket: Ticket, reason: Exception | None) -> None:
        waiter = self._waiters.get(ticket.number)
        if waiter is not None and not waiter.done():
            waiter.set_result(reason)
