"""What the time of a start goes to: each phase is timed once, logged, and told to the front for its metrics.

`pagoda run` shows the log's lines while it waits.
"""

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)


class Phases:
    def __init__(self, clock: Callable[[], float] = time.perf_counter, *, begun_seconds_ago: float = 0.0) -> None:
        """Takes the age of the process as `begun_seconds_ago`, which it spent on loading itself."""
        self.seconds: dict[str, float] = {}
        self._clock = clock
        self._begin = clock() - begun_seconds_ago
        if begun_seconds_ago:
            self._add("load_code", begun_seconds_ago)

    @contextmanager
    def time(self, phase: str) -> Iterator[None]:
        log.info("start phase begins phase=%s", phase)
        begin = self._clock()
        yield
        self._add(phase, self._clock() - begin)

    def end(self) -> None:
        """Adds `total`: all since the beginning, including what no phase has counted."""
        self._add("total", self._clock() - self._begin)

    def _add(self, phase: str, seconds: float) -> None:
        self.seconds[phase] = round(seconds, 3)
        log.info("start phase ended phase=%s seconds=%.3f", phase, seconds)


def read_process_age_seconds() -> float:
    """Reads this process's age from Linux's /proc, exact to a hundredth of a second; 0 where there is none."""
    try:
        after_name = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        uptime_seconds = float(Path("/proc/uptime").read_text().split()[0])
    except OSError:
        return 0.0
    started_ticks = int(after_name[19])
    return max(0.0, uptime_seconds - started_ticks / os.sysconf("SC_CLK_TCK"))
