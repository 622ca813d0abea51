"""Where a measured row stands in a roofline (Williams, Waterman and Patterson, 2009). Pure: rows in, points out.

Pure decode, pure prefill and single kernels have a place; W1 mixes the first two, and HTTP measures more than the GPU.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.report.measurement import Engine
from bench.report.results import Row
from bench.work.costs import Cost, compute_decode_costs, compute_prefill_costs
from bench.work.shapes import SHAPES, Precision, count_weight_bytes
from bench.work.workload import DecodePoint, PrefillPoint, parse_decode_name, parse_prefill_name

PRECISIONS: dict[str, Precision] = {"bf16": "bf16", "fp8": "fp8"}


@dataclass(frozen=True, slots=True)
class Point:
    label: str
    model: str
    engine: Engine
    intensity: float
    """FLOP per byte that must move."""
    tflops: float
    """TFLOP/s reached."""


def list_points(rows: Iterable[Row], engines: Sequence[Engine]) -> list[Point]:
    """Returns the points of every row that has a place, for each of the engines that measured it."""
    points = []
    for row in rows:
        cost = find_cost(row)
        if cost is None or not cost.flop:
            continue
        for engine in engines:
            value: float | None = getattr(row, engine)
            if value:
                intensity = cost.flop / cost.num_bytes
                tflops = cost.flop / find_seconds(row, value) * 1e-12
                points.append(Point(row.work, row.model, engine, intensity, tflops))
    return points


def find_cost(row: Row) -> Cost | None:
    """Returns it for one decode step, one prefill or one call of a kernel; None for a row without a place."""
    if row.num_bytes is not None and row.flop is not None:
        return Cost(row.num_bytes, row.flop)
    if row.model not in SHAPES:
        return None
    shape, precision = SHAPES[row.model], PRECISIONS[row.precision]
    match parse_decode_name(row.work) or parse_prefill_name(row.work):
        case DecodePoint(batch, context):
            return add_costs(compute_decode_costs(shape, precision, batch, context).values())
        case PrefillPoint(batch, length):
            one = add_costs(compute_prefill_costs(shape, precision, length - 1).values())
            weights = count_weight_bytes(shape, precision)
            return Cost(weights + batch * (one.num_bytes - weights), batch * one.flop)
        case _:
            return None


def find_seconds(row: Row, value: float) -> float:
    """Returns those of what `find_cost` gives: kernels are in microseconds, all else is a rate of tokens."""
    match parse_decode_name(row.work) or parse_prefill_name(row.work):
        case DecodePoint(batch, _):
            return batch / value
        case PrefillPoint(batch, length):
            return batch * (length - 1) / value
        case _:
            return value * 1e-6


def add_costs(costs: Iterable[Cost]) -> Cost:
    given = list(costs)
    return Cost(sum(cost.num_bytes for cost in given), sum(cost.flop for cost in given))
