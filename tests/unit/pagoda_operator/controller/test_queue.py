"""The work queue, on a clock that the test turns."""

import asyncio

import pytest

from pagoda_operator.controller.queue import LIMIT_SECONDS, WorkQueue
from tests.doubles.clock import Clock

A, B = ("ns", "a"), ("ns", "b")


@pytest.fixture
def clock() -> Clock:
    return Clock(100.0)


@pytest.fixture
def queue(clock: Clock) -> WorkQueue:
    return WorkQueue(clock=clock, jitter=lambda: 0.0)


def test_a_key_is_in_the_queue_once(queue: WorkQueue) -> None:
    queue.add(A)
    queue.add(A)
    assert queue.depth == 1
    assert queue.pop_due() == (A, 0.0)
    assert queue.pop_due() is None


def test_a_key_is_never_worked_on_twice_at_a_time(queue: WorkQueue) -> None:
    queue.add(A)
    queue.pop_due()
    queue.add(A)
    assert queue.pop_due() is None
    queue.done(A)
    assert queue.pop_due() == (A, 0.0)


def test_an_earlier_time_wins(queue: WorkQueue, clock: Clock) -> None:
    queue.add(A, after_seconds=60)
    queue.add(A, after_seconds=5)
    queue.add(A, after_seconds=30)
    clock.now += 5
    assert queue.pop_due() == (A, 0.0)
    queue.done(A)
    clock.now += 100
    assert queue.pop_due() is None


def test_failures_back_off_twice_as_long_up_to_a_limit(queue: WorkQueue, clock: Clock) -> None:
    waits = []
    for _ in range(12):
        queue.add(A)
        clock.now += LIMIT_SECONDS
        queue.pop_due()
        waits.append(queue.failed(A))
    assert waits[:4] == [0.5, 1.0, 2.0, 4.0]
    assert waits[-1] == LIMIT_SECONDS


def test_success_forgets_the_failures(queue: WorkQueue, clock: Clock) -> None:
    for _ in range(3):
        queue.add(A)
        clock.now += 10
        queue.pop_due()
        queue.failed(A)
    clock.now += 10
    queue.pop_due()
    queue.done(A)
    queue.add(A)
    queue.pop_due()
    assert queue.failed(A) == 0.5


def test_latency_is_the_time_from_due_to_taken(queue: WorkQueue, clock: Clock) -> None:
    queue.add(A, after_seconds=3)
    queue.add(B)
    clock.now += 5
    assert [queue.pop_due(), queue.pop_due()] == [(B, 5.0), (A, 2.0)]


async def test_a_worker_that_waits_is_woken_by_a_new_key() -> None:
    queue = WorkQueue(clock=asyncio.get_running_loop().time, jitter=lambda: 0.0)
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add(B)
    assert (await asyncio.wait_for(waiting, 5))[0] == B
