from dataclasses import replace
from pathlib import Path

import pytest

from bench.report.charts import Curve, build_curve, describe_origin, draw_charts, select_decode
from bench.report.results import Row, Run, parse_rows
from bench.report.roofline import list_points
from bench.work.limits import GPUS, compute_decode_limit, compute_work_limit
from bench.work.workload import INPUT_RATE, DecodePoint, PrefillPoint, build_prefill

GPU = "NVIDIA H200"
BENCH = Path(__file__).parents[3] / "bench"
RUN = Run(date="2026-11-24", version="0.26.0", command="", samples=[])
DECODE = Row(
    work="decode B=32 ctx=1024", model="llama-3.1-8b", precision="bf16", unit="output tokens/s", gpu=GPU,
    vllm=5000.0, ours=6000.0, limit=8000, limit_measured=7000,
    runs={"vllm": RUN, "ours": replace(RUN, version="0.1.0")},
)  # fmt: skip


def test_a_curve_leaves_out_what_was_not_measured() -> None:
    rows = [DECODE, replace(DECODE, work="decode B=1 ctx=1024", ours=None), replace(DECODE, work="W1")]
    rows += [replace(DECODE, work="decode B=32 ctx=7000"), replace(DECODE, precision="fp8")]
    points = select_decode(rows, "llama-3.1-8b")
    assert build_curve(points, "vllm") == Curve([1, 32], [5000.0, 5000.0])
    assert build_curve(points, "ours") == Curve([32], [6000.0])


def test_a_chart_says_gpu_versions_and_dates() -> None:
    later = replace(DECODE, runs={"ours": replace(RUN, date="2026-12-01", version="0.2.0")})
    assert describe_origin([DECODE], GPU) == "NVIDIA H200 · vLLM 0.26.0, Pagoda 0.1.0 · 2026-11-24"
    assert describe_origin([DECODE, later], GPU) == (
        "NVIDIA H200 · vLLM 0.26.0, Pagoda 0.1.0, Pagoda 0.2.0 · 2026-11-24 to 2026-12-01"
    )


def test_decode_at_its_limit_lies_on_the_slope_of_the_roof() -> None:
    limit = compute_decode_limit(GPU, "llama-3.1-8b", "bf16", DecodePoint(32, 1024))
    assert limit is not None
    [point] = list_points([replace(DECODE, ours=limit.rated)], ["ours"])
    roof = GPUS[GPU].rated.bytes_per_second * point.intensity * 1e-12
    assert point.tflops == pytest.approx(roof, rel=0.001)


def test_prefill_at_its_limit_lies_on_the_flat_of_the_roof() -> None:
    limit = compute_work_limit(GPU, "llama-3.1-8b", "bf16", build_prefill(PrefillPoint(32, 8192)))
    assert limit is not None
    [point] = list_points([replace(DECODE, work="prefill 32x8192", unit=INPUT_RATE, ours=limit.rated)], ["ours"])
    assert point.intensity > 1000
    assert point.tflops == pytest.approx(GPUS[GPU].rated.bf16_flop_per_second * 1e-12, rel=0.001)


def test_mixed_work_and_http_have_no_place_in_a_roofline() -> None:
    rows = [replace(DECODE, work=work) for work in ("W1", "HTTP streams=32", "interference 32 streams, 8000 in")]
    assert list_points(rows, ["ours", "vllm"]) == []


def test_charts_are_drawn_from_the_results_alone(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    rows = parse_rows((BENCH / "results.json").read_text())
    for path in draw_charts(rows, GPU, tmp_path):
        assert path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size < 60_000


def test_a_gpu_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="give one of NVIDIA H200"):
        draw_charts([DECODE], "NVIDIA T4", tmp_path)
