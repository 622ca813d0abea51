"""The work queue: a key is in it at most once, is never worked on twice at a time, and backs off when it fails."""

import asyncio
import heapq
from collections.abc import Callable

Key = tuple[str, str]
"""Namespace and name of a ModelDeployment."""

BASE_SECONDS = 0.5
LIMIT_SECONDS = 60.0


class WorkQueue:
    def __init__(self, *, clock: Callable[[], float], jitter: Callable[[], float]) -> None:
        """Makes an empty queue. `jitter` returns numbers in [0, 1)."""
        self._clock, self._jitter = clock, jitter
        self._heap: list[tuple[float, int, Key]] = []
        self._due_at: dict[Key, float] = {}
        self._working: set[Key] = set()
        self._again: dict[Key, float] = {}
        self._failures: dict[Key, int] = {}
        self._serial = 0
        self._wake = asyncio.Event()

    def add(self, key: Key, *, after_seconds: float = 0.0) -> None:
        """Makes the key due after that time, or sooner if it already is."""
        due = self._clock() + after_seconds
        if key in self._working:
            self._again[key] = min(due, self._again.get(key, due))
        elif due < self._due_at.get(key, float("inf")):
            self._push(key, due)

    def pop_due(self) -> tuple[Key, float] | None:
        """Returns the key that has been due longest and for how long; None when nothing is due."""
        now = self._clock()
        while self._heap and self._heap[0][0] <= now:
            due, _, key = heapq.heappop(self._heap)
            if self._due_at.get(key) == due:
                del self._due_at[key]
                self._working.add(key)
                return key, now - due
        return None

    async def get(self) -> tuple[Key, float]:
        while True:
            self._wake.clear()
            if (found := self.pop_due()) is not None:
                return found
            delay = self._heap[0][0] - self._clock() if self._heap else None
            try:
                async with asyncio.timeout(delay):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def done(self, key: Key, *, requeue_seconds: float | None = None) -> None:
        """Forgets the failures of a key that went well."""
        self._failures.pop(key, None)
        self._finish(key, requeue_seconds)

    def failed(self, key: Key) -> float:
        """Makes the key due again after a doubling time, spread by up to half; returns that time in seconds.

        NB: an event in the meantime does not cut it short.
        """
        count = self._failures[key] = self._failures.get(key, 0) + 1
        seconds: float = min(LIMIT_SECONDS, BASE_SECONDS * 2 ** min(count - 1, 16)) * (1 + self._jitter() / 2)
        self._again.pop(key, None)
        self._finish(key, seconds)
        return seconds

    @property
    def depth(self) -> int:
        now = self._clock()
        return sum(due <= now for due in self._due_at.values())

    def _finish(self, key: Key, after_seconds: float | None) -> None:
        self._working.discard(key)
        due = self._again.pop(key, None)
        if after_seconds is not None:
            later = self._clock() + after_seconds
            due = later if due is None else min(due, later)
        if due is not None:
            self._push(key, due)

    def _push(self, key: Key, due: float) -> None:
        self._serial += 1
        self._due_at[key] = due
        heapq.heappush(self._heap, (due, self._serial, key))
        self._wake.set()
