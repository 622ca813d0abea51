from pagoda_gateway.batch.lease import LEASE_SECONDS, STOP_SECONDS, Lease, Watcher
from pagoda_gateway.batch.names import build_id
from pagoda_gateway.batch.records import Order
from pagoda_gateway.batch.register import Register
from tests.doubles.clock import Clock
from tests.doubles.memory_store import Mount

ORDER = Order(
    id=build_id("batch", 0.0),
    tenant="one",
    endpoint="/v1/completions",
    input_file_id=build_id("file", 0.0),
    created_at=0,
    expires_at=1,
    output_seconds=1,
)


def build_watcher(store: Mount, clock: Clock) -> Watcher:
    return Watcher(store, Register(store, now=clock), clock=clock)


async def take(watcher: Watcher) -> Lease:
    lease = await watcher.try_take(ORDER)
    assert lease is not None
    return lease


async def test_an_owner_that_renews_keeps_its_batch() -> None:
    store, clock = Mount(), Clock()
    lease, other = await take(build_watcher(store, clock)), build_watcher(store, clock)
    for _ in range(20):
        clock.now += 8.0
        assert await lease.renew()
        assert await other.try_take(ORDER) is None


async def test_one_that_is_silent_loses_it_only_after_it_has_stopped() -> None:
    store, clock = Mount(), Clock()
    lease, other = await take(build_watcher(store, clock)), build_watcher(store, clock)
    assert await other.try_take(ORDER) is None
    clock.now = STOP_SECONDS
    assert not lease.is_held() and await other.try_take(ORDER) is None
    clock.now = LEASE_SECONDS
    taken = await take(other)
    assert taken.run == lease.run + 1
    assert not await lease.renew()


async def test_a_released_batch_is_taken_at_once() -> None:
    store, clock = Mount(), Clock()
    lease = await take(build_watcher(store, clock))
    await lease.release()
    assert (await take(build_watcher(store, clock))).run == 2


async def test_clocks_of_two_machines_may_differ() -> None:
    store, ours, theirs = Mount(), Clock(1000.0), Clock(5.0)
    lease, other = await take(build_watcher(store, ours)), build_watcher(store, theirs)
    assert await other.try_take(ORDER) is None
    ours.now += 8.0
    theirs.now += LEASE_SECONDS - 1
    assert await lease.renew()
    theirs.now += 2
    assert await other.try_take(ORDER) is None
