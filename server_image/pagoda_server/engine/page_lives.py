"""How long pages of the prefix cache live: of one in so many it is noted when its content comes, is used and goes.

The figures say whether the cache is large enough: pages that go soon after their last use were not worth their room,
those that go soon after they came never had a chance.
"""

from collections.abc import Callable, Iterable

from pagoda_server.histograms import PAGE_IDLE, PAGE_LIFETIME, PAGE_REUSE_GAP, Observed

WATCHED_EVERY = 64
"""A prompt may share thousands of pages at once, and each of them would be looked at."""


class PageLives:
    def __init__(self, observed: Observed, clock: Callable[[], float], *, every: int = WATCHED_EVERY) -> None:
        self._observed = observed
        self._clock = clock
        self._every = every
        self._lives: dict[int, tuple[float, float]] = {}
        """When the content of a page that is watched came, and when it was last used."""

    def come(self, page_id: int) -> None:
        if page_id % self._every == 0:
            now = self._clock()
            self._lives[page_id] = (now, now)

    def use(self, page_ids: Iterable[int]) -> None:
        for page_id in page_ids:
            if page_id % self._every == 0 and page_id in self._lives:
                came_at, used_at = self._lives[page_id]
                now = self._clock()
                self._observed.observe(PAGE_REUSE_GAP, now - used_at)
                self._lives[page_id] = (came_at, now)

    def go(self, page_id: int) -> None:
        """Notes that the content of a page is given up for another."""
        if page_id % self._every == 0 and (life := self._lives.pop(page_id, None)):
            now = self._clock()
            self._observed.observe(PAGE_LIFETIME, now - life[0])
            self._observed.observe(PAGE_IDLE, now - life[1])
