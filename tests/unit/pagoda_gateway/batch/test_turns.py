import asyncio
from collections.abc import Callable

import pytest

from pagoda_gateway.batch.pace import Figures, Pace, Seen
from pagoda_gateway.batch.turns import Leaving, Turn, Turns


class Engine:
    """What the turns see, as a test sets it."""

    def __init__(self) -> None:
        self.live = 0
        self.leaving = False
        self.number = 0

    def observe(self, running: int) -> Seen:
        self.number += 1
        return Seen(8, self.live, 0, running, Figures(self.number, 0, None), leaving=self.leaving)


Ask = Callable[[int], asyncio.Task[Turn]]


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def turns(engine: Engine) -> Turns:
    return Turns(Pace(0.5), engine.observe, clock=lambda: 100.0)


async def ask(turns: Turns, count: int, sequences: int = 1) -> list[asyncio.Task[Turn]]:
    asking = [asyncio.ensure_future(turns.take(sequences)) for _ in range(count)]
    for _ in range(20):
        await asyncio.sleep(0)
        turns.look()
    return asking


async def test_turns_are_given_in_order_and_given_back(turns: Turns) -> None:
    asking = await ask(turns, 10)
    assert [task.done() for task in asking] == [True] * 6 + [False] * 4
    (await asking[0]).leave()
    await asyncio.sleep(0)
    assert asking[6].done() and not asking[7].done()
    for task in asking:
        task.cancel()


async def test_those_that_began_last_are_taken_back(turns: Turns, engine: Engine) -> None:
    asking = await ask(turns, 6)
    engine.live = 4
    turns.look()
    assert [(await task).taken_back.is_set() for task in asking] == [False] + [True] * 5
    turns.look()
    assert turns.taken_back == 5


async def test_one_that_gives_up_loses_no_turn(turns: Turns) -> None:
    asking = await ask(turns, 7)
    asking[6].cancel()
    await asyncio.gather(asking[6], return_exceptions=True)
    for task in asking[:6]:
        (await task).leave()
    assert turns.running_requests == 0
    assert (await turns.take(1)).sequences == 1


async def test_a_large_request_counts_for_a_part_and_begins_alone(turns: Turns) -> None:
    asking = await ask(turns, 1, sequences=100)
    assert (await asking[0]).sequences == 2


async def test_who_waits_when_the_gateway_drains_is_told(turns: Turns, engine: Engine) -> None:
    asking = await ask(turns, 7)
    engine.leaving = True
    turns.look()
    with pytest.raises(Leaving):
        await asking[6]
    with pytest.raises(Leaving):
        await turns.take(1)
