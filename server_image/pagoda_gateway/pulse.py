"""Whether the gateway's own loops go round: what a liveness probe should know, and an answer alone does not tell."""

from collections.abc import Callable

STALLED_SECONDS = 60.0
"""Twice the longest pause before a failed loop is started again."""


class Pulse:
    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._beaten_at: dict[str, float] = {}

    def beat(self, loop: str) -> None:
        """Notes that this loop has gone round, or begins to."""
        self._beaten_at[loop] = self._clock()

    def find_stalled(self) -> list[str]:
        now = self._clock()
        return sorted(loop for loop, at in self._beaten_at.items() if now - at > STALLED_SECONDS)
