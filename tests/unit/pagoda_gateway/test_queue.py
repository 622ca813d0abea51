import pytest

from pagoda_gateway.line import Ticket, TicketState
from pagoda_gateway.queue import AdmissionQueue, QueueFull
from pagoda_gateway.weight import Weight
from tests.doubles.clock import Clock


def build_queue(*, max_queued: int = 3, tokens: int = 100, slots: int = 1) -> tuple[AdmissionQueue, Clock]:
    clock = Clock()
    return AdmissionQueue(max_queued=max_queued, max_queued_tokens=tokens, slots=slots, clock=clock), clock


def enter(queue: AdmissionQueue, tenant: str = "a", *, sequences: int = 1, tokens: int = 1) -> Ticket:
    """As the gate does it: who must give way goes first."""
    weight = Weight(sequences, tokens)
    for ticket in queue.plan_room(tenant, weight):
        queue.leave(ticket)
    return queue.enter(tenant, weight)


def serve_all(queue: AdmissionQueue, running: list[Ticket]) -> list[Ticket]:
    """Everyone who waits, in the order in which they run while those who run finish one by one."""
    order = []
    while running:
        queue.leave(running.pop(0))
        granted = queue.grant()
        order += granted
        running += granted
    return order


def test_oldest_of_one_tenant_runs_first() -> None:
    queue, _ = build_queue()
    first, *waiting = [enter(queue) for _ in range(4)]
    assert serve_all(queue, [first]) == waiting


def test_newcomer_never_passes_the_queue_even_with_a_free_slot() -> None:
    queue, _ = build_queue(slots=0)
    first = enter(queue)
    queue.resize(1)
    assert enter(queue).state is TicketState.QUEUED
    assert queue.grant() == [first]


def test_tenants_take_turns_however_many_requests_one_of_them_has() -> None:
    queue, _ = build_queue(max_queued=100)
    first = enter(queue, "a")
    for _ in range(6):
        enter(queue, "a")
    for tenant in ("b", "b", "c"):
        enter(queue, tenant)
    order = [ticket.tenant for ticket in serve_all(queue, [first])]
    assert order == ["a", "b", "c", "a", "b", "a", "a", "a", "a"]


def test_a_tenant_who_comes_late_has_its_share_at_once() -> None:
    queue, _ = build_queue(max_queued=100, slots=4)
    for _ in range(6):
        enter(queue, "a")
    late = [enter(queue, "b") for _ in range(3)]
    assert [ticket.state for ticket in late] == [*[TicketState.RUNNING] * 2, TicketState.QUEUED]
    assert enter(queue, "c").state is TicketState.RUNNING, "a third of four slots is one"


def test_who_is_above_its_share_waits_until_all_hold_less_than_there_are_slots() -> None:
    queue, _ = build_queue(max_queued=100, slots=4)
    running = [enter(queue, "a") for _ in range(4)] + [enter(queue, "b") for _ in range(2)]
    enter(queue, "a"), enter(queue, "b")
    order = []
    for ticket in running:
        queue.leave(ticket)
        order.append([granted.tenant for granted in queue.grant()])
    assert order == [[], [], ["b", "a"], [], [], []], "the free slot, and the share of who has less"


def test_a_request_takes_a_slot_for_each_sequence() -> None:
    queue, _ = build_queue(slots=40)
    enter(queue, sequences=5)
    assert (queue.running, queue.running_sequences) == (1, 5)


def test_a_request_of_many_sequences_leaves_most_slots_to_others() -> None:
    queue, _ = build_queue(slots=8, max_queued=2000)
    large = enter(queue, sequences=1024)
    assert (large.state, queue.running_sequences) == (TicketState.RUNNING, 2)
    assert [enter(queue).state for _ in range(7)] == [*[TicketState.RUNNING] * 6, TicketState.QUEUED]


def test_a_large_request_is_not_starved_by_small_ones() -> None:
    queue, _ = build_queue(slots=16, max_queued=1000)
    small = [enter(queue) for _ in range(16)]
    large = enter(queue, sequences=4)
    for _ in range(6):
        enter(queue)
    for ticket in small[:4]:
        assert large.state is TicketState.QUEUED
        queue.leave(ticket)
        granted = queue.grant()
    assert granted == [large]


def test_queue_is_bounded_by_sequences() -> None:
    queue, _ = build_queue(max_queued=3)
    enter(queue), enter(queue, sequences=2)
    with pytest.raises(QueueFull) as full:
        enter(queue, sequences=2)
    assert full.value.reason == "queue_full"
    assert full.value.retry_after_seconds >= 1
    assert enter(queue).state is TicketState.QUEUED


def test_queue_is_bounded_by_tokens() -> None:
    queue, _ = build_queue(tokens=100)
    enter(queue), enter(queue, tokens=60)
    with pytest.raises(QueueFull) as full:
        enter(queue, tokens=41)
    assert full.value.reason == "queue_tokens_full"
    assert enter(queue, tokens=40).state is TicketState.QUEUED


def test_large_request_runs_at_once_when_its_slots_are_free() -> None:
    queue, _ = build_queue(tokens=100, slots=8)
    assert enter(queue, sequences=64, tokens=10_000).state is TicketState.RUNNING


def test_who_holds_most_of_a_full_queue_gives_way_latest_first() -> None:
    queue, _ = build_queue(max_queued=4)
    enter(queue, "a")
    waiting = [enter(queue, "a") for _ in range(4)]
    enter(queue, "b"), enter(queue, "b")
    assert [ticket.state for ticket in waiting] == [*[TicketState.QUEUED] * 2, *[TicketState.CANCELLED] * 2]
    for tenant in ("a", "b"):
        with pytest.raises(QueueFull):
            enter(queue, tenant)


def test_a_full_queue_by_tokens_gives_way_too() -> None:
    queue, _ = build_queue(max_queued=100, tokens=100)
    enter(queue, "a")
    waiting = [enter(queue, "a", tokens=30) for _ in range(3)]
    enter(queue, "b", tokens=30)
    assert waiting[-1].state is TicketState.CANCELLED and queue.queued_tokens == 90


def test_nobody_gives_way_for_one_who_would_hold_more() -> None:
    queue, _ = build_queue(max_queued=100, tokens=100)
    enter(queue, "a")
    waiting = [enter(queue, "a", tokens=30) for _ in range(3)]
    with pytest.raises(QueueFull):
        enter(queue, "b", tokens=95)
    assert all(ticket.state is TicketState.QUEUED for ticket in waiting)


def test_the_oldest_of_a_tenant_keeps_its_turn() -> None:
    queue, _ = build_queue(max_queued=10)
    enter(queue, "a")
    large = enter(queue, "a", sequences=10)
    with pytest.raises(QueueFull):
        enter(queue, "b")
    assert large.state is TicketState.QUEUED


def test_a_ticket_that_turns_out_heavier_makes_room_or_is_refused() -> None:
    queue, _ = build_queue(max_queued=100, tokens=100)
    enter(queue, "a")
    light, other = enter(queue, "a", tokens=10), enter(queue, "b", tokens=10)
    assert queue.plan_growth(light, Weight(2, 90)) == []
    queue.reweigh(light, Weight(2, 90))
    assert (queue.queued_sequences, queue.queued_tokens) == (3, 100)
    with pytest.raises(QueueFull):
        queue.plan_growth(other, Weight(1, 95))


def test_retry_after_follows_the_sequences_finished_lately() -> None:
    queue, clock = build_queue(max_queued=1000, tokens=1000, slots=8)
    tickets = [enter(queue, sequences=2) for _ in range(18)]
    for ticket in tickets[:5]:
        clock.now += 2
        queue.leave(ticket)
        queue.grant()
    assert queue.queued_sequences == 18
    assert queue.retry_after_seconds() == round((18 + 1) / (10 / 8) + 0.5)
    assert queue.retry_after_seconds(sequences=32) == round((18 + 32) / (10 / 8))


def test_leaving_twice_changes_nothing() -> None:
    queue, _ = build_queue()
    enter(queue)
    waiting = enter(queue, tokens=5)
    queue.leave(waiting)
    queue.leave(waiting)
    assert (queue.queued, queue.queued_tokens, queue.cancelled) == (0, 0, 1)
