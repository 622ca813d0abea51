"""The screen of `bench`: figures, and how times spread, as bars that any terminal can show."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.text import Text

from pagoda_cli.load.measurement import Figures, Sample, Spread, list_first_tokens, list_gaps
from pagoda_cli.screens.paint import BAD, BOLD, DIM, NONE, build_grid, paint

EIGHTHS = " ▏▎▍▌▋▊▉█"
ROWS = 8
BAR_CHARACTERS = 40


@dataclass(frozen=True, slots=True)
class Bin:
    """So many times of at most `upper_ms`, and above the bin before."""

    upper_ms: float
    count: int


def build_bench(figures: Figures, samples: Sequence[Sample], *, about: Sequence[str], unicode: bool) -> RenderableType:
    """Returns the result; `about` says what was measured, and from where."""
    parts: list[RenderableType] = [*(Text(line, style=DIM) for line in about), "", _figures(figures), ""]
    parts += _errors(figures)
    for title, times in (
        ("Time to the first token", list_first_tokens(samples)),
        ("Gaps between pieces", list_gaps(samples)),
    ):
        if times:
            parts += [_chart(title, times, unicode), ""]
    return Group(*parts[:-1])


def _figures(figures: Figures) -> RenderableType:
    rates = f"{figures.output_tokens_per_second:,.1f} tokens/s, {figures.requests_per_second:,.2f} requests/s"
    counted = "" if figures.counted_by == "usage" else " (pieces were counted: the server tells no usage)"
    grid = build_grid("", "", header=False)
    rows = {
        "Requests": f"{figures.requests:,} in {figures.seconds:.1f} s, {figures.failed:,} failed",
        "Throughput": rates,
        "Tokens": f"{figures.output_tokens:,}{counted}",
        "First token": _spread(figures.first_token_ms),
        "Gap": _spread(figures.gap_ms),
    }
    for name, text in rows.items():
        grid.add_row(Text(name, style=DIM), Text(text))
    return grid


def _spread(spread: Spread) -> str:
    values = (spread.p50, spread.p95, spread.p99, spread.maximum)
    names = ("p50", "p95", "p99", "max")
    shown = (NONE if value is None else say_ms(value) for value in values)
    return "  ".join(f"{name} {value}" for name, value in zip(names, shown, strict=True))


def say_ms(milliseconds: float) -> str:
    """Returns a time with three digits that matter."""
    if milliseconds >= 10_000:
        return f"{milliseconds / 1000:.1f} s"
    return f"{milliseconds:.0f} ms" if milliseconds >= 100 else f"{milliseconds:.3g} ms"


def _errors(figures: Figures) -> list[RenderableType]:
    if not figures.errors:
        return []
    grid = build_grid("", "", header=False)
    for error, count in figures.errors.items():
        grid.add_row(Text(f"{count:,}", style=BAD), paint(error))
    return [Text("Errors", style=BOLD), grid, ""]


def _chart(title: str, seconds: Sequence[float], unicode: bool) -> RenderableType:
    grid = build_grid("", "", "", header=False)
    bins = build_bins([1000 * time for time in seconds])
    most, total, below = max(found.count for found in bins), len(seconds), 0
    for found in bins:
        below += found.count
        bar = draw_bar(found.count / most, BAR_CHARACTERS, unicode=unicode)
        grid.add_row(
            Text(f"{'≤' if unicode else '<='} {say_ms(found.upper_ms)}".rjust(10)),
            Text(bar.ljust(BAR_CHARACTERS), no_wrap=True),
            f"{found.count:,} ({100 * below / total:.0f}% so far)",
        )
    return Group(Text(title, style=BOLD), grid)


def build_bins(milliseconds: Sequence[float]) -> list[Bin]:
    """Returns `ROWS` bins that grow by a factor, for times spread over magnitudes; fewer where all are alike."""
    low, high = max(min(milliseconds), 1e-3), max(milliseconds)
    if high <= low * 1.05:
        return [Bin(high, len(milliseconds))]
    factor = (high / low) ** (1 / ROWS)
    edges = [low * factor ** (index + 1) for index in range(ROWS)]
    counts = [0] * ROWS
    for time in milliseconds:
        index = math.ceil(math.log(max(time, low) / low) / math.log(factor)) - 1
        counts[min(max(index, 0), ROWS - 1)] += 1
    return [Bin(edge, count) for edge, count in zip(edges, counts, strict=True)]


def draw_bar(fraction: float, characters: int, *, unicode: bool) -> str:
    """Returns a bar, in eighths of a character where the terminal has them; one that is not empty shows something."""
    if fraction <= 0:
        return ""
    if not unicode:
        return "#" * max(1, round(fraction * characters))
    eighths = max(1, round(fraction * characters * 8))
    return "█" * (eighths // 8) + (EIGHTHS[eighths % 8] if eighths % 8 else "")
