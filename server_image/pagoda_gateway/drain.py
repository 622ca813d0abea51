"""Leaving without dropping anyone: when the gateway stops being ready, stops taking requests, and is empty.

A drain never ends: a pod that began one goes away. It must never cut a request that was taken.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Drain:
    def __init__(self, *, grace_seconds: float, clock: Callable[[], float]) -> None:
        self._grace_seconds = grace_seconds
        self._clock = clock
        self._began_at: float | None = None
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

    def grace_left_seconds(self) -> float:
        """NB: endpoints are taken out of service late, so for a moment a draining pod still gets and takes requests."""
        if self._began_at is None:
            return self._grace_seconds
        return max(self._began_at + self._grace_seconds - self._clock(), 0.0)

    def refuses(self) -> bool:
        return self.draining and self.grace_left_seconds() == 0.0

    @contextmanager
    def track(self) -> Iterator[None]:
        """Around every relayed request, from its head to its last byte."""
        self._in_flight += 1
        self._empty.clear()
        try:
            yield
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self._empty.set()

    async def wait_empty(self) -> None:
        """Returns once new requests are refused and none that was taken is left."""
        while left := self.grace_left_seconds():
            await asyncio.sleep(left)
        await self._empty.wait()
