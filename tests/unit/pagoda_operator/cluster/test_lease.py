"""Who leads, on a clock that the test turns and a Lease that two replicas share."""

from pagoda_operator.cluster.lease import LeaderLease
from tests.doubles.api_server import FakeApi
from tests.doubles.clock import Clock


def replica(server: FakeApi, clock: Clock, name: str) -> LeaderLease:
    return LeaderLease(
        server,
        name="lease",
        namespace="ns",
        identity=name,
        monotonic=clock,
        wall=lambda: 0.0,
        on_change=lambda _: None,
    )


async def test_one_leads_and_another_takes_over_when_renewals_end() -> None:
    server, clock = FakeApi(), Clock()
    first, second = replica(server, clock, "a"), replica(server, clock, "b")
    await first.step()
    await second.step()
    assert (first.is_leader, second.is_leader) == (True, False)
    clock.now = 9
    await second.step()
    assert not second.is_leader
    clock.now = 10.1
    await second.step()
    assert (first.is_leader, second.is_leader) == (False, True)


async def test_a_clean_stop_gives_the_lease_up_at_once() -> None:
    server, clock = FakeApi(), Clock()
    first, second = replica(server, clock, "a"), replica(server, clock, "b")
    await first.step()
    await first.release()
    await second.step()
    assert (first.is_leader, second.is_leader) == (False, True)


async def test_a_leader_that_cannot_renew_stops_before_another_may_begin() -> None:
    server, clock = FakeApi(), Clock()
    first = replica(server, clock, "a")
    await first.step()
    server.is_down = True
    clock.now = 5
    await first.step()
    assert first.is_leader
    clock.now = 7.1
    assert not first.is_leader
