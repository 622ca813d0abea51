"""A request's way to its turn: weighed, let in or refused, judged by the server while it waits, given up on.

The cheapest refusal comes first. Whoever has a ticket must leave, or its slots are lost.
"""

from collections.abc import Callable

from pagoda_gateway.check import Checker, Judged, Question
from pagoda_gateway.errors import Refusal
from pagoda_gateway.estimate import estimate_request
from pagoda_gateway.gate import Gate
from pagoda_gateway.line import Ticket, TicketState
from pagoda_gateway.metrics import Metrics
from pagoda_gateway.queue import QueueFull
from pagoda_gateway.reply import Reply
from pagoda_gateway.settings import Settings
from pagoda_gateway.weight import MINIMUM, Weight
from pagoda_guard.tasks import Tasks

MESSAGES = {
    "queue_full": "The queue is full: try again later.",
    "queue_tokens_full": "The queue holds as many tokens as it may: try again later, or lower max_tokens.",
    "queue_share": "The queue is full, and your key held the largest share of it: try again later.",
}


class Admission:
    def __init__(
        self, settings: Settings, gate: Gate, metrics: Metrics, tasks: Tasks, *, clock: Callable[[], float]
    ) -> None:
        """Takes the queue's own `clock`, which told when each ticket arrived."""
        self._settings = settings
        self._gate = gate
        self._metrics = metrics
        self._tasks = tasks
        self._clock = clock
        self._checker = Checker(settings.upstream)

    def refuse_when_full(self, tenant: str) -> None:
        """Raises Refusal before the body is read, so that a full queue costs no memory."""
        try:
            self._gate.queue.plan_room(tenant, MINIMUM)
        except QueueFull as full:
            raise self._refuse(full) from full

    async def take_turn(self, question: Question, reply: Reply) -> Ticket:
        """Returns a ticket that runs. Raises Refusal, or Judged in the server's own words."""
        estimate = estimate_request(question.path, question.body)
        weight, exact = estimate.weight, None
        if not self._gate.queue.can_start(question.tenant, weight) and not self._gate.queue.can_hold(weight):
            exact = await self._judge(question)
        try:
            ticket = self._enter(question.tenant, exact or weight)
            await self._wait_judged(ticket, question, reply, ping=estimate.stream, is_exact=exact is not None)
        except QueueFull as full:
            raise self._refuse(full) from full
        return ticket

    def leave(self, ticket: Ticket) -> None:
        self._gate.leave(ticket)

    def _enter(self, tenant: str, weight: Weight) -> Ticket:
        try:
            return self._gate.enter(tenant, weight)
        except QueueFull as full:
            if self._gate.queue.can_hold(weight):
                raise
            raise self._refuse_too_large(weight, full) from full

    async def _wait_judged(
        self, ticket: Ticket, question: Question, reply: Reply, *, ping: bool, is_exact: bool
    ) -> None:
        must_ask = ticket.state is TicketState.QUEUED and not is_exact
        asking = self._tasks.spawn("check", self._judge_ticket(ticket, question)) if must_ask else None
        try:
            await self._wait(ticket, reply, ping=ping)
        except BaseException:
            self._gate.leave(ticket)
            raise
        finally:
            if asking is not None:
                asking.cancel()

    async def _wait(self, ticket: Ticket, reply: Reply, *, ping: bool) -> None:
        deadline = ticket.arrived_at + self._settings.max_wait_seconds
        while (left := deadline - self._clock()) > 0:
            seconds = min(left, self._settings.ping_seconds) if ping else left
            if await self._gate.wait(ticket, seconds=seconds):
                return
            if ping and self._clock() < deadline:
                await reply.ping()
        self._metrics.count_rejected("wait_exceeded")
        message = f"No turn within {self._settings.max_wait_seconds:g} s: try again later."
        retry_after_seconds = self._gate.queue.retry_after_seconds(ticket.weight.sequences)
        raise Refusal(503, "wait_exceeded", message, retry_after_seconds=retry_after_seconds)

    async def _judge(self, question: Question) -> Weight | None:
        try:
            weight = await self._checker.ask(question)
        except Judged:
            self._metrics.count_check("refused")
            raise
        self._metrics.count_check("unknown" if weight is None else "weighed")
        return weight

    async def _judge_ticket(self, ticket: Ticket, question: Question) -> None:
        try:
            if weight := await self._judge(question):
                self._gate.weigh(ticket, weight)
        except Judged as judged:
            self._gate.dismiss(ticket, judged)

    def _refuse(self, full: QueueFull) -> Refusal:
        self._metrics.count_rejected(full.reason)
        message = MESSAGES[full.reason]
        return Refusal(429, full.reason, message, "rate_limit_error", retry_after_seconds=full.retry_after_seconds)

    def _refuse_too_large(self, weight: Weight, full: QueueFull) -> Refusal:
        self._metrics.count_rejected(full.reason)
        bounds = self._gate.queue.bounds
        message = (
            f"The request asks for {weight.sequences} sequences (prompts x n) and about {weight.tokens} tokens; at "
            f"most {bounds.sequences} and {bounds.tokens} may wait here, so it is taken only when it need not wait: "
            "send fewer prompts, a smaller n or max_tokens, or try again later."
        )
        return Refusal(429, full.reason, message, "rate_limit_error", retry_after_seconds=full.retry_after_seconds)
