"""Figures and charts of a benchmark, word for word, also where a terminal has no Unicode."""

from pagoda_cli.load.measurement import Sample, compute_figures
from pagoda_cli.screens.bench import build_bench, build_bins, draw_bar
from pagoda_cli.screens.paint import render_plain

SAMPLES = [Sample(0.0, first_token=0.05 * (1 + n), gaps=[0.01] * 3, chunks=4, ended=1.0) for n in range(4)] + [
    Sample(0.0, error="HTTP 429: busy", ended=1.0)
]
SCREEN = """\
m: a test

Requests     5 in 2.0 s, 1 failed
Throughput   8.0 tokens/s, 2.00 requests/s
Tokens       16 (pieces were counted: the server tells no usage)
First token  p50 100 ms  p95 200 ms  p99 200 ms  max 200 ms
Gap          p50 10 ms  p95 10 ms  p99 10 ms  max 10 ms

Errors
1  HTTP 429: busy

Time to the first token
 ≤ 59.5 ms  ████████████████████████████████████████  1 (25% so far)
 ≤ 70.7 ms                                            0 (25% so far)
 ≤ 84.1 ms                                            0 (25% so far)
  ≤ 100 ms                                            0 (25% so far)
  ≤ 119 ms  ████████████████████████████████████████  1 (50% so far)
  ≤ 141 ms                                            0 (50% so far)
  ≤ 168 ms  ████████████████████████████████████████  1 (75% so far)
  ≤ 200 ms  ████████████████████████████████████████  1 (100% so far)

Gaps between pieces
   ≤ 10 ms  ████████████████████████████████████████  12 (100% so far)
"""


def show(*, unicode: bool) -> str:
    return render_plain(build_bench(compute_figures(SAMPLES, 2.0), SAMPLES, about=("m: a test",), unicode=unicode))


def test_the_result_is_one_screen() -> None:
    assert show(unicode=True) == SCREEN


def test_without_unicode_it_is_plain_ascii() -> None:
    assert show(unicode=False).isascii()


def test_every_time_is_in_a_bin_and_the_last_bin_ends_at_the_longest() -> None:
    times = [0.2, 1.0, 5.0, 5.0, 40.0, 900.0]
    bins = build_bins(times)
    assert sum(found.count for found in bins) == len(times)
    assert round(bins[-1].upper_ms, 6) == 900.0
    assert len(build_bins([3.0, 3.0])) == 1


def test_a_bar_that_is_not_empty_shows_something() -> None:
    assert draw_bar(0.0, 40, unicode=True) == ""
    assert draw_bar(0.0001, 40, unicode=True) == "▏"
    assert draw_bar(1.0, 40, unicode=True) == "█" * 40
    assert draw_bar(0.0001, 40, unicode=False) == "#"
