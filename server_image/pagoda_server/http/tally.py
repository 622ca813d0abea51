"""What the fronts of one server count, each in a row of its own in memory that all of them map.

Prometheus asks one front and hears the sum. A row has one writer, so counting takes no lock; it outlives its front, so
no counter falls when a front is started anew.
"""

import mmap
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import get_args

from pagoda_server.histograms import E2E_BOUNDS, ITL_BOUNDS, LENGTH_BOUNDS, TTFT_BOUNDS
from pagoda_server.wire import FinishReason

CELL_BYTES = 8
FRONT_HISTOGRAMS = (
    ("time_to_first_token_seconds", "Seconds from a request to its first token", TTFT_BOUNDS),
    ("inter_token_latency_seconds", "Seconds between two tokens of an answer", ITL_BOUNDS),
    ("e2e_request_latency_seconds", "Seconds from a request to its last token", E2E_BOUNDS),
    ("request_max_num_generation_tokens", "Tokens of the longest answer to a request", LENGTH_BOUNDS),
)
REASONS: tuple[FinishReason, ...] = get_args(FinishReason)
CONNECTIONS = 0
HAS_ENGINE = 1
BEATS = 2
WORDS = 3
FIRST_REASON = 4


@dataclass(frozen=True, slots=True)
class Histogram:
    """A cell for each bucket, one for what is above them all, one for the sum."""

    name: str
    text: str
    buckets: tuple[float, ...]
    first_cell: int

    @property
    def sum_cell(self) -> int:
        return self.first_cell + len(self.buckets) + 1


def _lay_out() -> Iterator[Histogram]:
    cell = FIRST_REASON + len(REASONS)
    for name, text, buckets in FRONT_HISTOGRAMS:
        yield (histogram := Histogram(name, text, buckets, cell))
        cell = histogram.sum_cell + 1


HISTOGRAMS = tuple(_lay_out())
TIME_TO_FIRST_TOKEN, INTER_TOKEN_LATENCY, E2E_LATENCY, LONGEST_ANSWER = HISTOGRAMS
ROW_CELLS = HISTOGRAMS[-1].sum_cell + 1


def count_bytes(fronts: int) -> int:
    return fronts * ROW_CELLS * CELL_BYTES


@dataclass(frozen=True, slots=True)
class Signs:
    """The signs of life of one front, as it counts them itself."""

    beats: float
    """0 while the front starts."""
    words: float
    """How often it heard something new from the engine."""
    has_engine: bool


class Tally:
    """Counts in the row of front `number` and reads those of all. `memory` has `count_bytes` of so many fronts."""

    def __init__(self, memory: bytearray | mmap.mmap, number: int) -> None:
        self._cells = memoryview(memory).cast("d")
        self._first = number * ROW_CELLS

    @classmethod
    def build_single(cls) -> "Tally":
        """Returns the tally of a front that has no others beside it."""
        return cls(bytearray(count_bytes(1)), 0)

    def observe(self, histogram: Histogram, value: float, times: int = 1) -> None:
        bucket = self._first + histogram.first_cell + bisect_left(histogram.buckets, value)
        self._cells[bucket] += times
        self._cells[self._first + histogram.sum_cell] += value * times

    def count_finished(self, reason: FinishReason) -> None:
        self._cells[self._first + FIRST_REASON + REASONS.index(reason)] += 1

    def set_connections(self, count: int) -> None:
        self._cells[self._first + CONNECTIONS] = count

    def set_engine(self) -> None:
        """Notes that this front has the engine.

        NB: for good: one that is started anew accepts only when it has it again.
        """
        self._cells[self._first + HAS_ENGINE] = 1

    def beat(self, *, heard: bool) -> None:
        """Notes that this front's loop turns; `heard`: the engine has said something since the last beat."""
        self._cells[self._first + BEATS] += 1
        self._cells[self._first + WORDS] += heard

    def forget_beats(self) -> None:
        """Clears the beats of a front that is about to be started anew."""
        self._cells[self._first + BEATS] = 0

    def read_signs(self) -> list[Signs]:
        """Returns the signs of all fronts, in their order."""
        columns = zip(self._column(BEATS), self._column(WORDS), self._column(HAS_ENGINE), strict=True)
        return [Signs(beats, words, bool(has_engine)) for beats, words, has_engine in columns]

    @property
    def others_have_engine(self) -> bool:
        own = self._first // ROW_CELLS
        return all(has for number, has in enumerate(self._column(HAS_ENGINE)) if number != own)

    @property
    def has_minimum_connections(self) -> bool:
        return self._cells[self._first + CONNECTIONS] <= min(self._column(CONNECTIONS))

    def sum_finished(self) -> dict[FinishReason, float]:
        """Returns how many requests of all fronts finished, for each reason that there can be."""
        return {reason: sum(self._column(FIRST_REASON + at)) for at, reason in enumerate(REASONS)}

    def sum_histogram(self, histogram: Histogram) -> tuple[list[float], float]:
        """Returns how many were at or below each bucket's bound, infinity last, and the sum of all."""
        cells = range(histogram.first_cell, histogram.sum_cell)
        counts = accumulate(sum(self._column(cell)) for cell in cells)
        return list(counts), sum(self._column(histogram.sum_cell))

    def _column(self, cell: int) -> list[float]:
        return list(self._cells[cell::ROW_CELLS])
