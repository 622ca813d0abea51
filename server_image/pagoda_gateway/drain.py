"""Leaving without dropping anyone: when the gateway stops being ready, goes on taking requests, is empty, and is over.

Endpoints are taken out of service late, so a draining gateway takes what still comes: until nothing of it is left, the
grace has passed, and for a while nothing new has come. A drain is never taken back: a pod that began one goes away. It
must never cut a request that was taken.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

QUIET_SECONDS = 2.0
"""So long nothing new has come before a drain is over, unless its grace is shorter."""


class Drain:
    def __init__(self, *, grace_seconds: float, clock: Callable[[], float]) -> None:
        self._grace_seconds = grace_seconds
        self._quiet_seconds = min(QUIET_SECONDS, grace_seconds)
        self._clock = clock
        self._began_at: float | None = None
        self._asked_at = -float("inf")
        self._over = False
        self._in_flight = 0
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def draining(self) -> bool:
        return self._began_at is not None

    @property
    def in_flight(self) -> int:
        return self._in_flight

    def begin(self) -> None:
        if self._began_at is None:
            self._began_at = self._clock()

    def end(self) -> None:
        """Ends the drain: nothing new is taken from now on."""
        self.begin()
        self._over = True

    def grace_left_seconds(self) -> float:
        if self._began_at is None:
            return self._grace_seconds
        return max(self._began_at + self._grace_seconds - self._clock(), 0.0)

    def _quiet_left_seconds(self) -> float:
        return max(self._asked_at + self._quiet_seconds - self._clock(), 0.0)

    def refuses(self) -> bool:
        """Returns True when nothing new is taken any more. NB: without a grace that is so from the start."""
        if not self.draining or self._over or not self._grace_seconds:
            return self.draining
        return not self._in_flight and not self._left_seconds()

    def _left_seconds(self) -> float:
        return max(self.grace_left_seconds(), self._quiet_left_seconds())

    @contextmanager
    def track(self) -> Iterator[bool]:
        """Counts a relayed request, from its head to its last byte. Yields False when it comes too late to be taken."""
        taken = not self.refuses()
        self._asked_at = self._clock() if taken else self._asked_at
        with self.hold():
            yield taken

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Counts what a drain waits for and no client asked for."""
        self._in_flight += 1
        self._empty.clear()
        try:
            yield
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self._empty.set()

    async def wait_empty(self) -> None:
        """Returns once nothing is left and nothing comes any more; from then on nothing is taken."""
        while self._in_flight or self._left_seconds():
            await asyncio.sleep(self._left_seconds())
            await self._empty.wait()
        self.end()
