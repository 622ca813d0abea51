"""How many batch requests may run beside the live ones: pure, from what queue and server say.

Live requests go first. None of them waits for a row that a batch holds; beside live ones a batch has a share of the
rows at most, and gives way as soon as the engine has enough to do. The room grows by what is seen to go well, a step
with each new figure of the server's, and falls at once.
"""

from dataclasses import dataclass

IDLE_SHARE = 0.75
"""Of the rows, while no live request runs. The rest is for the first that come."""
LIVE_UTILIZATION = 0.7
"""Beside live requests a batch grows until the engine does this part of what it can."""
QUIET_SECONDS = 5.0
"""So long after the last live request the next ones are still expected."""
LIVE_STARTS = 8
"""Beside live requests at most one in so many rows is begun per figure: each has a prompt that steps before theirs."""
SHRINK = 0.7
LEAST_SEQUENCES = 0.01
"""A smaller mean is none."""


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
    """What runs beyond it is taken back: live requests need the rows."""


NO_STARTS = 0


class Pace:
    def __init__(self, share: float) -> None:
        """`share` is the part of the rows that a batch may have beside live requests."""
        self._share = share
        self._limit = 1.0
        self._number = -1
        self._live_at = float("-inf")
        self._begun = 0
        """Sequences that were begun since the last figure."""

    @property
    def limit(self) -> int:
        return int(self._limit)

    def look(self, seen: Seen, now: float) -> Room:
        if seen.live_running or seen.live_queued:
            self._live_at = now
        beside_live = now - self._live_at < QUIET_SECONDS
        self._limit = min(self._limit, self._find_ceiling(seen, beside_live=beside_live))
        most = max(seen.slots - seen.live_running, 0)
        if seen.figures is None or seen.leaving:
            return Room(NO_STARTS, most)
        if seen.figures.number != self._number:
            self._number, self._begun = seen.figures.number, 0
            self._follow(seen, seen.figures, beside_live=beside_live)
        if seen.live_queued:
            return Room(NO_STARTS, most)
        starts = min(self.limit, most) - seen.batch_running
        if beside_live:
            starts = min(starts, max(self.limit // LIVE_STARTS, 1) - self._begun)
        return Room(max(starts, NO_STARTS), most)

    def note_begun(self, sequences: int) -> None:
        self._begun += sequences

    def _find_ceiling(self, seen: Seen, *, beside_live: bool) -> float:
        return max(seen.slots * (self._share if beside_live else IDLE_SHARE), 1.0)

    def _follow(self, seen: Seen, figures: Figures, *, beside_live: bool) -> None:
        busy = beside_live and figures.utilization is not None and figures.utilization > LIVE_UTILIZATION
        if figures.waiting or busy:
            self._limit = max(min(self._limit, seen.batch_running) * SHRINK, 1.0)
        elif seen.batch_running + 1 > self._limit * SHRINK:
            step = 1.0 if beside_live else max(self._limit, 1.0)
            self._limit = min(self._limit + step, self._find_ceiling(seen, beside_live=beside_live))


class Attribution:
    """Which part of the server's work of the last seconds was batches': the mean of sequences that ran, by time.

    Batches are no demand: a model must not be scaled up for what fills its gaps.
    """

    def __init__(self, window_seconds: float = 5.0) -> None:
        """Takes the window over which the server counts its own tokens a second."""
        self._window_seconds = window_seconds
        self._live = 0.0
        self._batch = 0.0
        self._now: tuple[int, int] = (0, 0)
        self._at: float | None = None

    def note(self, live: int, batch: int, now: float) -> None:
        """Notes how many sequences run from now on."""
        self._pass(now)
        self._now = (live, batch)

    def batch_share(self, now: float) -> float:
        self._pass(now)
        total = self._live + self._batch
        return self._batch / total if self._batch >= LEAST_SEQUENCES else 0.0

    def _pass(self, now: float) -> None:
        seconds = 0.0 if self._at is None else max(now - self._at, 0.0)
        weight = min(seconds / self._window_seconds, 1.0)
        live, batch = self._now
        self._live += (live - self._live) * weight
        self._batch += (batch - self._batch) * weight
        self._at = now
