"""What holds of the gateway's queue whatever tenants do, in whatever order."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pagoda_gateway.line import Ticket, TicketState
from pagoda_gateway.queue import AdmissionQueue, QueueFull
from pagoda_gateway.weight import NOTHING, Weight

TENANTS = ["a", "b", "c"]
BOUNDS = Weight(12, 100)
WEIGHTS = st.builds(Weight, st.integers(1, 14), st.integers(0, 110))


class QueueMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.tickets: list[Ticket] = []
        self.queue = AdmissionQueue(
            max_queued=BOUNDS.sequences, max_queued_tokens=BOUNDS.tokens, slots=2, clock=lambda: self.now
        )

    def held_by(self, tenant: str, state: TicketState = TicketState.QUEUED) -> Weight:
        weights = (t.weight for t in self.tickets if t.state is state and t.tenant == tenant)
        return sum(weights, start=NOTHING)

    def in_state(self, state: TicketState) -> list[Ticket]:
        return [ticket for ticket in self.tickets if ticket.state is state]

    @rule(tenant=st.sampled_from(TENANTS), weight=WEIGHTS)
    def enter(self, tenant: str, weight: Weight) -> None:
        self.now += 0.5
        before = {name: self.held_by(name) for name in TENANTS}
        try:
            let_go = self.queue.plan_room(tenant, weight)
        except QueueFull:
            total = sum(before.values(), start=NOTHING)
            assert (total + weight).find_excess(BOUNDS) is not None
            return
        for ticket in let_go:
            excess = (sum(before.values(), start=NOTHING) + weight).find_excess(BOUNDS)
            assert excess is not None and ticket.tenant != tenant
            oldest = next(t for t in self.in_state(TicketState.QUEUED) if t.tenant == ticket.tenant)
            assert oldest is not ticket
            self.queue.leave(ticket)
        self.tickets.append(self.queue.enter(tenant, weight))

    @precondition(lambda self: self.tickets)
    @rule(number=st.integers(0))
    def leave(self, number: int) -> None:
        self.now += 0.5
        self.queue.leave(self.tickets[number % len(self.tickets)])

    @precondition(lambda self: self.in_state(TicketState.QUEUED))
    @rule(number=st.integers(0), weight=WEIGHTS)
    def reweigh(self, number: int, weight: Weight) -> None:
        waiting = self.in_state(TicketState.QUEUED)
        ticket = waiting[number % len(waiting)]
        try:
            let_go = self.queue.plan_growth(ticket, weight)
        except QueueFull:
            return
        for other in let_go:
            assert other is not ticket
            self.queue.leave(other)
        self.queue.reweigh(ticket, weight)

    @rule(slots=st.integers(0, 6))
    def resize(self, slots: int) -> None:
        self.queue.resize(slots)

    @rule()
    def grant(self) -> None:
        for ticket in self.queue.grant():
            assert ticket.state is TicketState.RUNNING
            assert ticket.slots <= max(self.queue.slots, 1)

    @rule()
    def everyone_who_waits_has_a_turn_while_others_finish(self) -> None:
        waiting = self.in_state(TicketState.QUEUED)
        self.queue.resize(max(self.queue.slots, 1))
        self.queue.grant()
        while running := self.in_state(TicketState.RUNNING):
            self.queue.leave(running[0])
            self.queue.grant()
        assert all(ticket.state is TicketState.FINISHED for ticket in waiting)

    @invariant()
    def every_admitted_request_is_in_exactly_one_state(self) -> None:
        queue = self.queue
        assert queue.admitted == queue.running + queue.queued + queue.finished + queue.cancelled == len(self.tickets)
        assert queue.queued == len(self.in_state(TicketState.QUEUED))

    @invariant()
    def the_queue_is_never_above_its_bounds(self) -> None:
        total = sum((self.held_by(tenant) for tenant in TENANTS), start=NOTHING)
        assert total == Weight(self.queue.queued_sequences, self.queue.queued_tokens)
        assert total.find_excess(BOUNDS) is None

    @precondition(lambda self: len({ticket.tenant for ticket in self.in_state(TicketState.RUNNING)}) > 1)
    @rule(tenant=st.sampled_from(TENANTS))
    def nobody_below_an_equal_share_waits(self, tenant: str) -> None:
        self.queue.grant()
        running = self.in_state(TicketState.RUNNING)
        own = sum(ticket.slots for ticket in running if ticket.tenant == tenant)
        share = self.queue.slots // len({tenant, *(ticket.tenant for ticket in running)})
        waiting = [ticket for ticket in self.in_state(TicketState.QUEUED) if ticket.tenant == tenant]
        largest = max(self.queue.slots // 4, 1)
        assert not waiting or own + min(waiting[0].weight.sequences, largest) > share

    @invariant()
    def slots_add_up(self) -> None:
        assert self.queue.running_sequences == sum(ticket.slots for ticket in self.in_state(TicketState.RUNNING))


QueueMachine.TestCase.settings = settings(deadline=None, max_examples=60, stateful_step_count=40)
TestQueueMachine = QueueMachine.TestCase


@settings(deadline=None)
@given(st.lists(st.sampled_from(TENANTS), min_size=1, max_size=40), st.integers(1, 4))
def test_no_tenant_waits_for_more_than_a_turn_of_each_other(tenants: list[str], slots: int) -> None:
    queue = AdmissionQueue(max_queued=1000, max_queued_tokens=1000, slots=slots, clock=lambda: 0.0)
    running = [queue.enter("first", Weight(1, 1)) for _ in range(slots)]
    entered = [queue.enter(tenant, Weight(1, 1)) for tenant in tenants]
    running += [ticket for ticket in entered if ticket.state is TicketState.RUNNING]
    left = Counter(ticket.tenant for ticket in entered if ticket.state is TicketState.QUEUED)
    since: Counter[str] = Counter()
    while running:
        queue.leave(running.pop(0))
        for ticket in queue.grant():
            running.append(ticket)
            left[ticket.tenant] -= 1
            since[ticket.tenant] = 0
            for other in TENANTS:
                since[other] += other != ticket.tenant and left[other] > 0
            assert all(count < len(TENANTS) + slots for count in since.values())
    assert queue.queued == 0
