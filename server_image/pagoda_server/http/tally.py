"""What the fronts of one server count, each in a row of its own in memory that all of them map.

Prometheus asks one front and hears the sum. A row has one writer, so counting takes no lock; it outlives its front, so
no counter falls when a front is started anew.
"""

import mmap
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import get_args

from pagoda_guard.collector import Outcome
from pagoda_server.histograms import CHOICE_BOUNDS, E2E_BOUNDS, ITL_BOUNDS, LENGTH_BOUNDS, TTFT_BOUNDS
from pagoda_server.wire import FinishReason

CELL_BYTES = 8
FRONT_HISTOGRAMS = (
    ("time_to_first_token_seconds", "Seconds from a request to its first token", TTFT_BOUNDS),
    ("inter_token_latency_seconds", "Seconds between two tokens of an answer", ITL_BOUNDS),
    ("e2e_request_latency_seconds", "Seconds from a request to its last token", E2E_BOUNDS),
    ("request_max_num_generation_tokens", "Tokens of the longest answer to a request", LENGTH_BOUNDS),
    ("request_params_n", "Answers that a request asks for, to each of its prompts", CHOICE_BOUNDS),
    ("request_params_max_tokens", "Tokens that an answer to a request may have", LENGTH_BOUNDS),
)
REASONS: tuple[FinishReason, ...] = get_args(FinishReason)
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
EXAMPLE_CELLS = 5
"""The two halves of the trace's number, the span's number, the value, the time of day."""
EXAMPLE_SECONDS = 1.0
"""A bucket has a new example at most so often: tokens come faster than anyone looks."""
HALF = 64
CONNECTIONS = 0
HAS_ENGINE = 1
BEATS = 2
WORDS = 3
FIRST_REASON = 4
FIRST_OUTCOME = FIRST_REASON + len(REASONS)


@dataclass(frozen=True, slots=True)
class SpanName:
    """What a trace and one span of it are called."""

    trace_id: int
    span_id: int


@dataclass(frozen=True, slots=True)
class Example:
    """One value of a bucket and the span in which it came about. `at`: seconds since 1970."""

    span: SpanName
    value: float
    at: float


@dataclass(frozen=True, slots=True)
class Histogram:
    """A cell for each bucket, one for what is above them all, one for the sum; then an example for each of the first.

    NB: numbers of spans are no floating-point numbers, their cells hold whole ones.
    """

    name: str
    text: str
    buckets: tuple[float, ...]
    first_cell: int

    @property
    def sum_cell(self) -> int:
        return self.first_cell + len(self.buckets) + 1

    @property
    def first_example(self) -> int:
        return self.sum_cell + 1

    @property
    def end_cell(self) -> int:
        return self.first_example + (len(self.buckets) + 1) * EXAMPLE_CELLS


def _lay_out() -> Iterator[Histogram]:
    cell = FIRST_OUTCOME + len(OUTCOMES)
    for name, text, buckets in FRONT_HISTOGRAMS:
        yield (histogram := Histogram(name, text, buckets, cell))
        cell = histogram.end_cell


HISTOGRAMS = tuple(_lay_out())
TIME_TO_FIRST_TOKEN, INTER_TOKEN_LATENCY, E2E_LATENCY, LONGEST_ANSWER, ASKED_CHOICES, ASKED_TOKENS = HISTOGRAMS
ROW_CELLS = HISTOGRAMS[-1].end_cell


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

    def __init__(self, memory: bytearray | mmap.mmap, number: int, *, clock: Callable[[], float] = time.time) -> None:
        self._cells = memoryview(memory).cast("d")
        self._whole_cells = memoryview(memory).cast("Q")
        self._clock = clock
        self.number = number
        self._first = number * ROW_CELLS

    @classmethod
    def build_single(cls) -> "Tally":
        """Returns the tally of a front that has no others beside it."""
        return cls(bytearray(count_bytes(1)), 0)

    def observe(self, histogram: Histogram, value: float, times: int = 1, span: SpanName | None = None) -> None:
        """Counts a value; `span` is where it came about, if that is traced."""
        bucket = bisect_left(histogram.buckets, value)
        self._cells[self._first + histogram.first_cell + bucket] += times
        self._cells[self._first + histogram.sum_cell] += value * times
        if span is not None:
            self._keep_example(histogram.first_example + bucket * EXAMPLE_CELLS, value, span)

    def _keep_example(self, cell: int, value: float, span: SpanName) -> None:
        """Writes an example. NB: its time is 0 meanwhile, so that no reader takes halves of two for one."""
        first, now = self._first + cell, self._clock()
        if 0 <= now - self._cells[first + 4] < EXAMPLE_SECONDS:
            return
        self._cells[first + 4] = 0.0
        self._whole_cells[first] = span.trace_id >> HALF
        self._whole_cells[first + 1] = span.trace_id & (1 << HALF) - 1
        self._whole_cells[first + 2] = span.span_id
        self._cells[first + 3] = value
        self._cells[first + 4] = now

    def count_spans(self, outcome: Outcome, count: int) -> None:
        self._cells[self._first + FIRST_OUTCOME + OUTCOMES.index(outcome)] += count

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
        return all(has for number, has in enumerate(self._column(HAS_ENGINE)) if number != self.number)

    @property
    def has_minimum_connections(self) -> bool:
        return self._cells[self._first + CONNECTIONS] <= min(self._column(CONNECTIONS))

    def sum_finished(self) -> dict[FinishReason, float]:
        """Returns how many requests of all fronts finished for each reason.

        NB: zeros too, for a counter that appears with its first count has not risen, as Prometheus sees it.
        """
        return {reason: sum(self._column(FIRST_REASON + at)) for at, reason in enumerate(REASONS)}

    def sum_spans(self) -> dict[Outcome, float]:
        """Returns what became of how many spans of all fronts, where there were any."""
        sums = {outcome: sum(self._column(FIRST_OUTCOME + at)) for at, outcome in enumerate(OUTCOMES)}
        return {outcome: count for outcome, count in sums.items() if count}

    def find_examples(self, histogram: Histogram) -> list[Example | None]:
        """Returns the latest example of each bucket, of whichever front."""
        rows = range(0, len(self._cells), ROW_CELLS)
        firsts = range(histogram.first_example, histogram.end_cell, EXAMPLE_CELLS)
        found = ([example for row in rows if (example := self._read_example(row + first))] for first in firsts)
        return [max(examples, key=lambda example: example.at, default=None) for examples in found]

    def _read_example(self, first: int) -> Example | None:
        at = self._cells[first + 4]
        trace_id = self._whole_cells[first] << HALF | self._whole_cells[first + 1]
        example = Example(SpanName(trace_id, self._whole_cells[first + 2]), self._cells[first + 3], at)
        return example if at and self._cells[first + 4] == at else None

    def sum_histogram(self, histogram: Histogram) -> tuple[list[float], float]:
        """Returns how many were at or below each bucket's bound, infinity last, and the sum of all."""
        cells = range(histogram.first_cell, histogram.sum_cell)
        counts = accumulate(sum(self._column(cell)) for cell in cells)
        return list(counts), sum(self._column(histogram.sum_cell))

    def _column(self, cell: int) -> list[float]:
        return list(self._cells[cell::ROW_CELLS])
