"""However often gateways are killed in the middle of a batch, each request has exactly one line in its files."""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.doubles.batch_world import SLOTS, World
from tests.doubles.memory_store import Mount

kills = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 200)), max_size=4)


@settings(deadline=None)
@given(requests=st.integers(1, 30), deaths=kills)
def test_after_any_kills_each_request_has_one_line(requests: int, deaths: list[tuple[int, int]]) -> None:
    async def run() -> None:
        world = World(requests)
        for writes, torn in deaths:
            await world.run(Mount(world.objects, writes_left=writes, torn_bytes=torn))
        await world.run(Mount(world.objects))
        await world.check()
        lost = world.server.asked.total() - requests
        assert lost <= len(deaths) * 2 * SLOTS, "only what was in flight is asked again"

    asyncio.run(run())


@settings(deadline=None, max_examples=30)
@given(requests=st.integers(1, 30), head_start=st.integers(0, 40))
def test_an_owner_taken_for_dead_does_no_harm(requests: int, head_start: int) -> None:
    async def run() -> None:
        world = World(requests)
        first = asyncio.ensure_future(world.run(Mount(world.objects)))
        for _ in range(head_start):
            await asyncio.sleep(0)
        await world.run(Mount(world.objects))
        await first
        await world.check()

    asyncio.run(run())


def test_a_request_that_the_server_refuses_for_now_is_asked_again() -> None:
    async def run() -> None:
        world = World(4, busy={2})
        await world.run(Mount(world.objects))
        await world.check()
        assert world.server.asked["2"] == 2

    asyncio.run(run())
