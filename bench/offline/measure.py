"""What the measurements of every engine in one process share: work is run a few times, and each rate is a sample."""

import statistics
from collections.abc import Callable, Iterable

from bench.report.measurement import Recorder
from bench.work.limits import compute_decode_limit, compute_work_limit
from bench.work.workload import OUTPUT_RATE, DecodePoint, Work

RunWork = Callable[[Work], float]
"""Seconds from the first request to the last token."""


def measure_works(recorder: Recorder, works: Iterable[Work], run: RunWork, repeats: int) -> None:
    for work in works:
        rates = [float(round(work.num_rated_tokens / run(work))) for _ in range(repeats)]
        limit = compute_work_limit(recorder.gpu, recorder.model, recorder.precision, work)
        recorder.record(work.name, work.unit, rates, limit=limit)


def check_length(work: Work, num_made_tokens: int) -> None:
    """Raises RuntimeError when tokens are missing or too many."""
    if num_made_tokens != work.num_output_tokens:
        raise RuntimeError(
            f"{work.name} made {num_made_tokens} tokens instead of {work.num_output_tokens}: the rate would be wrong"
        )


def record_decode(recorder: Recorder, point: DecodePoint, seconds: list[float]) -> None:
    """Takes the seconds of a step, one per sample."""
    limit = compute_decode_limit(recorder.gpu, recorder.model, recorder.precision, point)
    note = f"{statistics.median(seconds) * 1e3:.3f} ms per step"
    recorder.record(point.name, OUTPUT_RATE, [round(point.batch / each, 1) for each in seconds], limit=limit, note=note)
