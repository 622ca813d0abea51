"""How many batch requests may run beside the live ones: pure, from what queue and server say.

Live requests go first. None of them waits for a row that a batch holds, and with the first of them a batch falls at
once to what is known to go well beside live ones: what runs beyond it is taken back. Both limits, alone and beside,
grow by what is seen, a step with each new figure of the server's, and shrink when the engine has enough to do.
"""

from collections import deque
from dataclasses import dataclass

IDLE_SHARE = 0.75
"""Of the rows, while no live request runs. The rest is for the first that come."""
LIVE_UTILIZATION = 0.7
"""Beside live requests a batch grows until the engine does this part of what it can."""
QUIET_SECONDS = 5.0
"""So long after the last live request the next ones are still expected."""
WINDOW_SECONDS = 5.0
"""Over which the server counts its own tokens a second."""
LIVE_STARTS = 8
"""Beside live requests at most one in so many rows is begun per figure: each has a prompt that steps before theirs."""
SHRINK = 0.7


@dataclass(frozen=True, slots=True)
class Figures:
    """What the server said of itself last."""

    number: int
    """Another one with each answer."""
    waiting: int
    utilization: float | None
    """Tokens a second over what it can; None until it is measured."""


@dataclass(frozen=True, slots=True)
class Seen:
    slots: int
    live_running: int
    """Sequences."""
    live_queued: int
    batch_running: int
    figures: Figures | None
    """None: the server is not ready, or said nothing lately."""
    leaving: bool = False
    """The gateway drains."""


@dataclass(frozen=True, slots=True)
class Room:
    starts: int
    """So many sequences may begin now."""
    most: int
    """What runs beyond it is taken back: live requests need the rows, or the time of a step."""


NO_STARTS = 0


class Pace:
    def __init__(self, share: float) -> None:
        """`share` is the part of the rows that a batch may have beside live requests."""
        self._share = share
        self._alone = 1.0
        self._beside = 1.0
        self._is_beside = False
        self._number = -1
        self._live_at = float("-inf")
        self._beside_at = float("-inf")
        self._begun = 0
        """Sequences that were begun since the last figure."""

    @property
    def limit(self) -> int:
        return int(self._beside if self._is_beside else self._alone)

    def look(self, seen: Seen, now: float) -> Room:
        has_live = bool(seen.live_running or seen.live_queued)
        self._switch(has_live, now)
        if seen.figures is not None and seen.figures.number != self._number:
            self._follow(seen, seen.figures, now)
            self._number, self._begun = seen.figures.number, 0
        most = max(seen.slots - seen.live_running, 0)
        most = min(most, self.limit) if has_live else most
        if seen.figures is None or seen.leaving or seen.live_queued:
            return Room(NO_STARTS, most)
        starts = min(self.limit, most) - seen.batch_running
        if self._is_beside:
            starts = min(starts, max(self.limit // LIVE_STARTS, 1) - self._begun)
        return Room(max(starts, NO_STARTS), most)

    def note_begun(self, sequences: int) -> None:
        self._begun += sequences

    def _switch(self, has_live: bool, now: float) -> None:
        """Notes whether live requests run. NB: alone it begins with what went well beside them."""
        self._live_at = now if has_live else self._live_at
        was_beside, self._is_beside = self._is_beside, now - self._live_at < QUIET_SECONDS
        if self._is_beside and not was_beside:
            self._beside_at = now
        if was_beside and not self._is_beside:
            self._alone = self._beside

    def _follow(self, seen: Seen, figures: Figures, now: float) -> None:
        """Grows or shrinks the limit in force.

        NB: the server counts over some seconds, so that just after the first live request its figures are of the batch.
        Those that were begun just now wait in the engine for their first step.
        """
        is_busy = figures.waiting > self._begun
        if self._is_beside:
            if now - self._beside_at < WINDOW_SECONDS:
                return
            is_busy = is_busy or (figures.utilization is not None and figures.utilization > LIVE_UTILIZATION)
            self._beside = follow(self._beside, seen, 1.0, self._share, is_busy=is_busy)
        else:
            self._alone = follow(self._alone, seen, self._alone, IDLE_SHARE, is_busy=is_busy)


def follow(limit: float, seen: Seen, step: float, share: float, *, is_busy: bool) -> float:
    """Returns the next limit: less when the engine is busy, a step more when all of it is in use."""
    if is_busy:
        return max(min(limit, seen.batch_running) * SHRINK, 1.0)
    if limit >= seen.batch_running > limit * SHRINK - 1:
        return min(limit + step, max(seen.slots * share, 1.0))
    return limit


class Attribution:
    """Which part of the server's work of the last seconds was batches': their part of the sequences that ran, by time.

    Batches are no demand: a model must not be scaled up for what fills its gaps, and live requests must show at once.
    """

    def __init__(self, window_seconds: float = WINDOW_SECONDS) -> None:
        self._window_seconds = window_seconds
        self._spans: deque[tuple[float, int, int]] = deque()
        """Since when how many sequences ran, live ones and batches', until the next one begins."""

    def note(self, live: int, batch: int, now: float) -> None:
        """Notes how many sequences run from now on."""
        if not self._spans or self._spans[-1][1:] != (live, batch):
            self._spans.append((now, live, batch))
        while len(self._spans) > 1 and self._spans[1][0] <= now - self._window_seconds:
            self._spans.popleft()

    def batch_share(self, now: float) -> float:
        begin, end = now - self._window_seconds, now
        live_seconds = batch_seconds = 0.0
        for since, live, batch in reversed(self._spans):
            seconds = max(end - max(since, begin), 0.0)
            live_seconds += live * seconds
            batch_seconds += batch * seconds
            end = min(since, end)
        total = live_seconds + batch_seconds
        return batch_seconds / total if total else 0.0
