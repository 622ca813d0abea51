"""The waiting side of the queue: turns the pure queue's grants into wake-ups of the requests that wait.

It decides nothing: order and bounds are the queue's. Whoever entered must leave, or a slot is lost.
"""

import asyncio

from pagoda_gateway.queue import AdmissionQueue, Ticket, TicketState


class Gate:
    def __init__(self, queue: AdmissionQueue) -> None:
        self.queue = queue
        self._waiters: dict[int, asyncio.Future[None]] = {}

    def enter(self, tokens: int) -> Ticket:
        ticket = self.queue.enter(tokens)
        if ticket.state is TicketState.QUEUED:
            self._waiters[ticket.number] = asyncio.get_running_loop().create_future()
        return ticket

    async def wait(self, ticket: Ticket, *, seconds: float) -> bool:
        """True once the ticket runs, False when the seconds passed first."""
        if waiter := self._waiters.get(ticket.number):
            await asyncio.wait({waiter}, timeout=max(seconds, 0.0))
        return ticket.state is TicketState.RUNNING

    def leave(self, ticket: Ticket) -> None:
        self._waiters.pop(ticket.number, None)
        self.queue.leave(ticket)
        self._wake()

    def resize(self, slots: int) -> None:
        if slots != self.queue.slots:
            self.queue.resize(slots)
            self._wake()

    def _wake(self) -> None:
        for ticket in self.queue.grant():
            waiter = self._waiters.pop(ticket.number, None)
            if waiter is not None and not waiter.done():
                waiter.set_result(None)
