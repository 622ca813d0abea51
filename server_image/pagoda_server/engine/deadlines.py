"""Until when a request may wait for its turn: so long that its client would rather be told to try elsewhere."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping

from pagoda_server.engine.request import Request, RequestState
from pagoda_server.engine.turns import Waiting


class Deadlines:
    """All may wait equally long, `max_wait_seconds` of `clock`, so the first to come is the first to be overdue."""

    def __init__(self, clock: Callable[[], float], max_wait_seconds: float | None) -> None:
        self._clock = clock
        self._max_wait_seconds = max_wait_seconds
        self._order: deque[tuple[float, str]] = deque()
        """With ids, so that nothing is kept of a request that ended."""

    def set(self, request: Request) -> None:
        if self._max_wait_seconds is not None:
            request.wait_until = self._clock() + self._max_wait_seconds
            self._order.append((request.wait_until, request.request_id))

    def take_overdue(self, requests: Mapping[str, Request], waiting: Waiting) -> Iterator[Request]:
        """Yields the overdue requests of groups that were never admitted; an admitted group's wait for each other only.

        NB: an id may be in use anew, with a later deadline.
        """
        now = self._clock()
        while self._order and self._order[0][0] <= now:
            request = requests.get(self._order.popleft()[1])
            if request is None or request.state is not RequestState.WAITING or request.wait_until > now:
                continue
            if not waiting.has_begun(request):
                yield request
