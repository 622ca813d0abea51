from pathlib import Path
from statistics import median
from typing import Any

import pytest

from bench.__main__ import main
from bench.report.measurement import Measurement, Recorder, describe_command, read_lines, write_line
from bench.report.results import (
    Row,
    format_rows,
    format_share,
    merge,
    parse_rows,
    ratio_to_vllm,
    render,
    render_touched,
)
from bench.work.workload import INPUT_RATE, OUTPUT_RATE

BENCH = Path(__file__).parents[3] / "bench"


def measured(value: float = 100.0, **changes: Any) -> Measurement:
    fields: dict[str, Any] = {
        "work": "W1",
        "model": "qwen3-0.6b",
        "precision": "bf16",
        "unit": OUTPUT_RATE,
        "engine": "vllm",
        "version": "0.26.0",
        "value": value,
        "gpu": "NVIDIA H200",
        "date": "2026-11-24",
        "command": "python3 -m bench.vllm_offline",
        "limit": 400,
        "limit_measured": 300,
    }
    return Measurement(**(fields | changes))


def test_engines_of_one_work_share_a_row() -> None:
    [row] = merge([], [measured(100), measured(40, engine="transformers"), measured(150, engine="ours")])
    assert (row.vllm, row.transformers, row.ours, row.limit) == (100, 40, 150, 400)
    assert row.runs.keys() == {"vllm", "transformers", "ours"}


@pytest.mark.parametrize(
    "change", [{"work": "W1/16"}, {"model": "qwen3-8b"}, {"precision": "fp8"}, {"unit": "s"}, {"gpu": "NVIDIA H100"}]
)
def test_other_work_model_precision_unit_or_gpu_is_another_row(change: dict[str, Any]) -> None:
    assert len(merge([], [measured(), measured(**change)])) == 2


def test_a_new_figure_replaces_the_engines_old_one_and_no_other() -> None:
    old = merge([], [measured(100), measured(50, engine="ours")])
    [row] = merge(old, [measured(90, engine="ours", date="2026-12-01", limit=None)])
    assert (row.vllm, row.ours, row.limit, row.date) == (100, 90, 400, "2026-12-01")
    assert (row.runs["vllm"].date, row.runs["ours"].date) == ("2026-11-24", "2026-12-01")


def test_merging_the_same_figures_again_changes_nothing() -> None:
    rows = merge([], [measured(), measured(engine="ours")])
    assert merge(rows, [measured(), measured(engine="ours")]) == rows


def test_rows_survive_their_file() -> None:
    rows = merge([], [measured(samples=[99.0, 100.0], note="two runs"), measured(engine="ours")])
    assert parse_rows(format_rows(rows)) == rows


def test_a_damaged_file_is_refused() -> None:
    for text in ("", "[]", '{"rows": [{"work": "W1"}]}', '{"rows": [{"speed": 1, "runs": {}}]}'):
        with pytest.raises(ValueError, match="restore it"):
            parse_rows(text)


def test_measurements_survive_their_file(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    for value in (1.0, 2.0):
        write_line(measured(value), path)
    assert [each.value for each in read_lines(path.read_text().splitlines())] == [1.0, 2.0]


def test_a_bad_line_is_named() -> None:
    for bad in ("{", "3", '{"engine": "sglang"}', '{"engine": "vllm"}'):
        with pytest.raises(ValueError, match="line 1 is no measurement"):
            read_lines([bad])


def test_the_ratio_is_above_one_when_ours_is_ahead() -> None:
    rate = Row(work="", model="", precision="", gpu="", unit=OUTPUT_RATE, vllm=100, ours=150)
    time = Row(work="", model="", precision="", gpu="", unit="TTFT p50 ms", vllm=30, ours=20)
    assert ratio_to_vllm(rate) == ratio_to_vllm(time) == 1.5
    assert ratio_to_vllm(Row(work="", model="", precision="", gpu="", unit="s", vllm=30)) is None


def test_the_share_of_a_limit_is_at_most_whole_for_rates_and_times() -> None:
    rate = Row(work="", model="", precision="", gpu="", unit=INPUT_RATE, limit=200, ours=150)
    time = Row(work="", model="", precision="", gpu="", unit="µs", limit=15, ours=20)
    assert format_share(rate) == format_share(time) == "75.0 %"


def test_a_figure_is_the_median_of_its_samples(tmp_path: Path) -> None:
    lines = tmp_path / "lines.jsonl"
    recorder = Recorder(model="qwen3-8b", engine="ours", version="1", gpu="NVIDIA H200", lines=lines, environment="")
    recorder.record("W1", OUTPUT_RATE, [90.0, 300.0, 100.0])
    [measurement] = read_lines(lines.read_text().splitlines())
    assert (measurement.value, measurement.samples) == (100.0, [90.0, 300.0, 100.0])


def test_every_row_of_the_file_is_the_median_of_its_samples() -> None:
    for row in parse_rows((BENCH / "results.json").read_text()):
        for engine, run in row.runs.items():
            assert getattr(row, engine) == median(run.samples), row.key


def test_a_run_shows_the_rows_that_it_touched() -> None:
    rows = merge([], [measured(100), measured(work="W1/16")])
    text = render_touched(merge(rows, [measured(150, engine="ours")]), [measured(150, engine="ours")])
    assert "| 150 | 1.5 | 37.5 % |" in text and "W1/16" not in text


def test_the_table_shows_every_column_and_the_command() -> None:
    text = render(merge([], [measured(23230), measured(30000, engine="ours"), measured(12, unit="s")]))
    assert "| W1 | qwen3-0.6b | bf16 | output tokens/s | 23,230 | – | 400 (300) | 30,000 | 1.29 |" in text
    assert "| W1 | qwen3-0.6b | bf16 | s | 12 | – | 400 (300) | – | – | – | 2026-11-24 |" in text
    assert text.count("`python3 -m bench.vllm_offline`") == 2


def test_a_run_is_listed_with_its_notes_and_the_gpus_clock() -> None:
    clocks, note = "1,605 MHz, 698 W, at the power limit 67% of the time", "two runs"
    text = render(merge([], [measured(note=note, clocks=clocks), measured(unit="s", note=note, work="W1")]))
    assert text.count(f"  - W1: {clocks}\n") == text.count(f"  - W1: {note}\n") == 1


def test_a_command_is_kept_without_the_place_of_its_lines() -> None:
    argv = ["/venv/bin/python3", "-m", "bench.serving", "ours", "--lines", "/tmp/x", "--loads", "1x8"]
    assert describe_command(argv) == "python3 -m bench.serving ours --loads 1x8"


def test_merge_writes_both_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines, results = tmp_path / "lines.jsonl", tmp_path / "results.json"
    write_line(measured(), lines)
    assert main(["merge", str(lines), "--results", str(results)]) == 0
    assert parse_rows(results.read_text()) == merge([], [measured()])
    assert "| W1 |" in (tmp_path / "RESULTS.md").read_text() and "| W1 |" in capsys.readouterr().out


def test_results_md_is_what_results_json_says() -> None:
    rows = parse_rows((BENCH / "results.json").read_text())
    assert (BENCH / "RESULTS.md").read_text() == render(rows), "run python -m bench merge"
