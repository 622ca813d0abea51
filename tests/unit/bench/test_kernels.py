from pathlib import Path

import pytest

from bench.__main__ import main
from bench.kernels.case import Case
from bench.kernels.times import CASES, record_row
from bench.report.measurement import NO_MODEL, Recorder, read_lines
from bench.report.results import merge, render
from bench.report.roofline import list_points
from bench.work.limits import Rates

GPU = "NVIDIA H200"


def test_a_kernels_row_keeps_its_floor_bytes_and_arithmetic(tmp_path: Path) -> None:
    lines = tmp_path / "lines.jsonl"
    recorder = Recorder(model=NO_MODEL, engine="ours", version="0.1.0", gpu=GPU, lines=lines, environment="")
    case = Case("decode", "8B, 32 x 8192", 4.8e9, 9.6e9, lambda: lambda: None)
    record_row(recorder, case, [0.0019, 0.002, 0.0022], Rates(4e12, 788e12))
    [row] = merge([], read_lines(lines.read_text().splitlines()))
    assert (row.work, row.unit, row.ours, row.limit, row.limit_measured) == (
        "kernel decode 8B, 32 x 8192",
        "µs",
        2000.0,
        1000.0,
        1200.0,
    )
    assert "| 50.0 % |" in render([row])
    [point] = list_points([row], ["ours"])
    assert point.intensity == 2.0 and point.tflops == pytest.approx(4.8)


def test_the_command_tells_its_kernels(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["kernels", "--help"])
    out = capsys.readouterr().out
    assert ended.value.code == 0 and out.startswith("usage: python -m bench kernels ")
    assert all(name in out for name in CASES)
