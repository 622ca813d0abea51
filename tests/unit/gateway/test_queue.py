from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pagoda_gateway.queue import AdmissionQueue, QueueFull, Ticket, TicketState


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def build_queue(*, max_queued: int = 3, tokens: int = 100, slots: int = 1) -> tuple[AdmissionQueue, Clock]:
    clock = Clock()
    return AdmissionQueue(max_queued=max_queued, max_queued_tokens=tokens, slots=slots, clock=clock), clock


def test_oldest_runs_first() -> None:
    queue, _ = build_queue()
    first, *waiting = [queue.enter(1) for _ in range(4)]
    order = []
    queue.leave(first)
    while granted := queue.grant():
        order += granted
        queue.leave(granted[0])
    assert order == waiting


def test_newcomer_never_passes_the_queue_even_with_a_free_slot() -> None:
    queue, _ = build_queue(slots=0)
    first = queue.enter(1)
    queue.resize(1)
    assert queue.enter(1).state is TicketState.QUEUED
    assert queue.grant() == [first]


def test_queue_is_bounded_by_requests() -> None:
    queue, _ = build_queue(max_queued=1)
    queue.enter(1), queue.enter(1)
    with pytest.raises(QueueFull) as full:
        queue.enter(1)
    assert full.value.reason == "queue_full"
    assert full.value.retry_after_seconds >= 1


def test_queue_is_bounded_by_tokens() -> None:
    queue, _ = build_queue(tokens=100)
    queue.enter(1), queue.enter(60)
    with pytest.raises(QueueFull) as full:
        queue.enter(41)
    assert full.value.reason == "queue_tokens_full"
    assert queue.enter(40).state is TicketState.QUEUED


def test_large_request_runs_at_once_when_a_slot_is_free() -> None:
    queue, _ = build_queue(tokens=100)
    assert queue.enter(10_000).state is TicketState.RUNNING


def test_retry_after_follows_the_measured_drain_rate() -> None:
    queue, clock = build_queue(max_queued=100, slots=1)
    tickets = [queue.enter(1) for _ in range(15)]
    for ticket in tickets[:5]:
        clock.now += 2
        queue.leave(ticket)
        queue.grant()
    assert queue.retry_after_seconds() == round((9 + 1) / (5 / 8))


def test_leaving_twice_changes_nothing() -> None:
    queue, _ = build_queue()
    queue.enter(1)
    waiting = queue.enter(5)
    queue.leave(waiting), queue.leave(waiting)
    assert (queue.queued, queue.queued_tokens, queue.cancelled) == (0, 0, 1)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("enter"), st.integers(0, 60)),
        st.tuples(st.just("leave"), st.integers(0, 30)),
        st.tuples(st.just("resize"), st.integers(0, 4)),
        st.tuples(st.just("grant"), st.just(0)),
    ),
    max_size=60,
)


@settings(deadline=None)
@given(STEPS)
def test_every_admitted_request_is_in_exactly_one_state(steps: list[tuple[str, int]]) -> None:
    queue, clock = build_queue(max_queued=4, tokens=100, slots=1)
    tickets: list[Ticket] = []
    for step, number in steps:
        clock.now += 0.5
        if step == "enter":
            with suppress(QueueFull):
                tickets.append(queue.enter(number))
        elif step == "leave" and tickets:
            queue.leave(tickets[number % len(tickets)])
        elif step == "resize":
            queue.resize(number)
        elif step == "grant":
            queue.grant()
        assert queue.admitted == queue.running + queue.queued + queue.finished + queue.cancelled == len(tickets)
        assert queue.queued_tokens == sum(t.tokens for t in tickets if t.state is TicketState.QUEUED)
        assert 0 <= queue.queued_tokens <= 100 and queue.queued <= 4 and queue.running >= 0
