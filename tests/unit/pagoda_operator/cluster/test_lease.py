"""Who leads, on a clock that the test turns and a Lease that two replicas share."""

import copy
from typing import Any

from pagoda_operator.cluster.client import ApiError
from pagoda_operator.cluster.lease import LeaderLease


class SharedLease:
    """The API server's part: one Lease with optimistic concurrency."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.down = False

    async def get(self, *_: object) -> dict[str, Any] | None:
        if self.down:
            raise ApiError(0, "down")
        return copy.deepcopy(self.lease)

    async def create(self, _: object, lease: dict[str, Any]) -> dict[str, Any]:
        lease["metadata"]["resourceVersion"] = "1"
        self.lease = copy.deepcopy(lease)
        return lease

    async def replace(self, _: object, lease: dict[str, Any]) -> dict[str, Any]:
        assert self.lease is not None
        if lease["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
            raise ApiError(409, "conflict")
        lease["metadata"]["resourceVersion"] = str(int(lease["metadata"]["resourceVersion"]) + 1)
        self.lease = copy.deepcopy(lease)
        return lease


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def replica(server: SharedLease, clock: Clock, name: str) -> LeaderLease:
    return LeaderLease(
        server,  # type: ignore[arg-type]
        name="lease",
        namespace="ns",
        identity=name,
        monotonic=clock,
        wall=lambda: 0.0,
        on_change=lambda _: None,
    )


async def test_one_leads_and_another_takes_over_when_renewals_end() -> None:
    server, clock = SharedLease(), Clock()
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
    server, clock = SharedLease(), Clock()
    first, second = replica(server, clock, "a"), replica(server, clock, "b")
    await first.step()
    await first.release()
    await second.step()
    assert (first.is_leader, second.is_leader) == (False, True)


async def test_a_leader_that_cannot_renew_stops_before_another_may_begin() -> None:
    server, clock = SharedLease(), Clock()
    first = replica(server, clock, "a")
    await first.step()
    server.down = True
    clock.now = 5
    await first.step()
    assert first.is_leader
    clock.now = 7.1
    assert not first.is_leader
