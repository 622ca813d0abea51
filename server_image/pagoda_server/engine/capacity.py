"""How many tokens per second this engine can serve, learnt from what it serves.

The measurement at start is of a made-up load. While the engine is full, the rate it serves *is* its capacity for the
load that really comes, so the estimate follows that rate, and downwards too: where answers are long or contexts large
the start's figure is too high, utilisation would never reach the autoscaler's target, and a full engine would get no
help. While the engine is not full its rate is only a lower bound: it can raise the estimate, never lower it, and what
it raised counts as measured still, for the engine was not seen at its limit.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from pagoda_server.engine.pace import StepCost
from pagoda_server.wire import CapacitySource

WINDOW_SECONDS = 5.0
FOLLOW_SECONDS = 10.0
"""Time constant: after t seconds of a steady rate, e^(-t/10) of the old error is left (5 % after 30 s)."""
FULL = 0.9
"""Mean occupancy from which a window counts as full: an ended request's place stands empty until the next arrives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What was measured of the device at start (`start.measure_capacity`)."""

    tokens_per_second: float | None = None
    step_cost: StepCost | None = None


class Capacity:
    """Windows of at least `WINDOW_SECONDS` (a longer step makes a longer window) follow each other without gaps.

    Each gives one rate: its tokens over its wall time. A full window moves the estimate towards that rate by
    1 - e^(-window / FOLLOW_SECONDS), any other lifts it to a rate above it. A full window without a token says that the
    engine hangs, not what it can do, and is passed over. None until measured, or until the first full window.
    """

    def __init__(self, clock: Callable[[], float], *, measured: float | None) -> None:
        self.tokens_per_second = measured
        self.source: CapacitySource | None = None if measured is None else "measured"
        self._clock = clock
        self._opened = self._since = clock()
        self._resting = True
        self._tokens = 0
        self._full_seconds = 0.0

    def rest(self) -> None:
        """Notes that nothing is left to do: the time until the next step begins counts as empty."""
        self._resting = True

    def begin_step(self) -> None:
        if self._resting:
            self._since, self._resting = self._clock(), False

    def end_step(self, num_tokens: int, occupancy: float) -> None:
        """Counts a step of `num_tokens` and of `occupancy`, 0 to 1; 1 when requests wait."""
        now = self._clock()
        self._tokens += num_tokens
        self._full_seconds += occupancy * (now - self._since)
        self._since = now
        seconds = now - self._opened
        if seconds < WINDOW_SECONDS:
            return
        self._learn(self._tokens / seconds, is_full=self._full_seconds >= FULL * seconds, seconds=seconds)
        self._opened, self._tokens, self._full_seconds = now, 0, 0.0

    def _learn(self, rate: float, *, is_full: bool, seconds: float) -> None:
        before = self.tokens_per_second
        if is_full and rate > 0.0:
            weight = 1.0 if before is None else 1.0 - math.exp(-seconds / FOLLOW_SECONDS)
            self.tokens_per_second = rate if before is None else before + weight * (rate - before)
            self.source = "observed"
        elif before is not None and rate > before:
            self.tokens_per_second = rate
