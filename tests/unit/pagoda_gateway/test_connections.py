"""Who is let go when time or room is short: pure, with a clock of the test's own."""

from dataclasses import dataclass
from typing import Any

import pytest

from pagoda_gateway.connections import UNREAD_LIMIT_BYTES, Connections, Limits, choose_max_connections


@dataclass(eq=False)
class Guest:
    progresses: bool = False
    unread_bytes: int = 0
    connections: Connections | None = None
    gone: bool = False

    def has_progressed(self) -> bool:
        return self.progresses

    def let_go(self) -> None:
        self.gone = True
        if self.connections:
            self.connections.give_back(self.unread_bytes)


class Rig:
    def __init__(self, most: int = 3) -> None:
        self.now = 0.0
        self.reasons: list[str] = []
        limits = Limits(max_connections=most, header_seconds=30, idle_seconds=75, stalled_seconds=60)
        self.connections = Connections(limits, clock=lambda: self.now, count=self.reasons.append)

    def open(self, **kind: Any) -> Guest:
        guest = Guest(connections=self.connections, **kind)
        assert self.connections.admit(guest)
        return guest

    def sweep_at(self, now: float) -> None:
        self.now = now
        self.connections.sweep()


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_silent_connection_goes_after_the_heads_time_and_one_with_a_request_stays(rig: Rig) -> None:
    silent, busy = rig.open(), rig.open()
    rig.connections.begin(busy)
    rig.sweep_at(29.9)
    assert not silent.gone
    rig.sweep_at(30)
    assert (silent.gone, busy.gone, len(rig.connections), rig.reasons) == (True, False, 1, ["header_seconds"])


def test_head_that_trickles_has_no_more_time_than_one_that_does_not(rig: Rig) -> None:
    slow = rig.open()
    for second in range(1, 30):
        rig.sweep_at(second)
        rig.connections.await_head(slow)
    rig.sweep_at(30)
    assert slow.gone


def test_idle_connection_goes_after_its_time_and_a_head_begun_on_it_has_its_own(rig: Rig) -> None:
    idle, asking = rig.open(), rig.open()
    for guest in (idle, asking):
        rig.connections.begin(guest)
        rig.connections.rest(guest)
    rig.now = 70
    rig.connections.await_head(asking)
    rig.sweep_at(75)
    assert (idle.gone, asking.gone) == (True, False)
    rig.sweep_at(100)
    assert asking.gone


def test_connection_that_is_done_stays_while_its_client_takes_the_rest(rig: Rig) -> None:
    reader, stalled = rig.open(progresses=True), rig.open()
    for guest in (reader, stalled):
        rig.connections.leave(guest)
    rig.sweep_at(60)
    assert (reader.gone, stalled.gone, rig.reasons) == (False, True, ["stalled"])
    reader.progresses = False
    rig.sweep_at(120)
    assert reader.gone


def test_newcomer_takes_the_place_of_the_longest_idle_and_of_nobody_busy(rig: Rig) -> None:
    silent, first, second = rig.open(), rig.open(), rig.open()
    for guest in (first, second):
        rig.connections.begin(guest)
        rig.connections.rest(guest)
    rig.open()
    assert (first.gone, second.gone, silent.gone) == (True, False, False)
    rig.open()
    rig.open()
    assert second.gone and silent.gone and len(rig.connections) == 3


def test_newcomer_is_refused_where_all_are_busy() -> None:
    rig = Rig(most=1)
    rig.connections.begin(rig.open())
    assert not rig.connections.admit(Guest())
    assert (len(rig.connections), rig.reasons) == (1, ["no_room"])


def test_heads_begun_first_go_when_all_unread_bytes_are_too_many(rig: Rig) -> None:
    half = UNREAD_LIMIT_BYTES // 2
    first, second, third = (rig.open(unread_bytes=half) for _ in range(3))
    for _ in range(3):
        assert rig.connections.hold(half)
    assert (first.gone, second.gone, third.gone) == (True, False, False)
    assert rig.connections.unread_bytes == 2 * half


def test_bytes_that_nobody_waiting_can_give_back_are_too_many(rig: Rig) -> None:
    rig.connections.begin(rig.open())
    assert not rig.connections.hold(UNREAD_LIMIT_BYTES + 1)


def test_connections_are_bounded_by_what_the_process_may_open() -> None:
    assert choose_max_connections(0, 1_048_576) == 16_384
    assert choose_max_connections(0, 1024) == 512
    assert choose_max_connections(100, 1024) == 100
