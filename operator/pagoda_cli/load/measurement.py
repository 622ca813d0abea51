"""What was measured of requests, and the figures of it. Pure; times in seconds."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

PERCENTS = (50, 95, 99)


@dataclass(slots=True)
class Sample:
    """One request as its client saw it. `tokens` is the server's own count, where it gave one."""

    started: float
    first_token: float | None = None
    gaps: list[float] = field(default_factory=list)
    chunks: int = 0
    tokens: int | None = None
    ended: float = 0.0
    error: str = ""

    @property
    def output(self) -> int:
        return self.tokens if self.tokens is not None else self.chunks


@dataclass(frozen=True, slots=True)
class Spread:
    """Percentiles of times, in milliseconds; None where there was none."""

    p50: float | None
    p95: float | None
    p99: float | None
    maximum: float | None


@dataclass(frozen=True, slots=True)
class Figures:
    """The result of a benchmark."""

    requests: int
    failed: int
    errors: dict[str, int]
    seconds: float
    output_tokens: int
    output_tokens_per_second: float
    requests_per_second: float
    first_token_ms: Spread
    gap_ms: Spread
    counted_by: str
    """usage, where the server told how many tokens each answer has; chunks, where some had to be counted so."""


def compute_figures(samples: Sequence[Sample], seconds: float) -> Figures:
    """Returns the figures. Rates are of what succeeded, over the whole time."""
    good = [sample for sample in samples if not sample.error]
    tokens = sum(sample.output for sample in good)
    told = all(sample.tokens is not None for sample in good)
    return Figures(
        requests=len(samples),
        failed=len(samples) - len(good),
        errors=dict(Counter(sample.error for sample in samples if sample.error).most_common()),
        seconds=round(seconds, 2),
        output_tokens=tokens,
        output_tokens_per_second=round(tokens / seconds, 1) if seconds > 0 else 0.0,
        requests_per_second=round(len(good) / seconds, 2) if seconds > 0 else 0.0,
        first_token_ms=build_spread(list_first_tokens(good)),
        gap_ms=build_spread(list_gaps(good)),
        counted_by="usage" if told else "chunks",
    )


def list_first_tokens(samples: Sequence[Sample]) -> list[float]:
    """Returns the times to the first token of answers that had one."""
    return [sample.first_token for sample in samples if sample.first_token is not None and not sample.error]


def list_gaps(samples: Sequence[Sample]) -> list[float]:
    """Returns the times between the pieces of whole answers."""
    return [gap for sample in samples if not sample.error for gap in sample.gaps]


def build_spread(seconds: Sequence[float]) -> Spread:
    return Spread(*(percentile_ms(seconds, percent) for percent in (*PERCENTS, 100)))


def percentile_ms(seconds: Sequence[float], percent: float) -> float | None:
    """Returns the smallest value that `percent` of all do not exceed, in milliseconds; None for none."""
    if not seconds:
        return None
    rank = max(1, math.ceil(percent / 100 * len(seconds)))
    return round(1000 * sorted(seconds)[rank - 1], 2)
