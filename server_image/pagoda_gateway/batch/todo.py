"""Which request is next: in the order of the file, but for those that are tried again, each when its pause is over."""

import heapq

from pagoda_gateway.batch.journal import Tally

ATTEMPTS = 8
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0


class Todo:
    """Pure: the clock's time is an argument."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._next = 0
        self._again: list[tuple[float, int]] = []
        self._attempts: dict[int, int] = {}

    def take(self, now: float) -> int | None:
        """Returns a request that may be asked now."""
        if self._again and self._again[0][0] <= now:
            return heapq.heappop(self._again)[1]
        while self._next < len(self._tally):
            self._next += 1
            if not self._tally.is_over(self._next - 1):
                return self._next - 1
        return None

    def put_back(self, request: int, due: float) -> None:
        heapq.heappush(self._again, (due, request))

    def count_attempt(self, request: int) -> bool:
        """Returns False when the server was asked often enough."""
        self._attempts[request] = self._attempts.get(request, 0) + 1
        return self._attempts[request] < ATTEMPTS

    def pause_seconds(self, request: int) -> float:
        """Returns how long to wait before the next attempt."""
        pause = FIRST_PAUSE_SECONDS * 2 ** self._attempts.get(request, 0) / 2
        return float(min(pause, LONGEST_PAUSE_SECONDS))

    def forget(self, request: int) -> None:
        self._attempts.pop(request, None)

    @property
    def due(self) -> float | None:
        """Returns when the next is tried again, None when none is."""
        return self._again[0][0] if self._again else None
