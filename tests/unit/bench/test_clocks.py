"""What is told of a GPU's clock is what nvidia-smi sampled while the GPU was busy."""

import os
import time
from pathlib import Path

import pytest

from bench.report.clocks import ClockSample, ClockWatch, describe_clocks, parse_sample

LINES = (
    "97, 1755, 640.12, Not Active",
    "98, 1500, 699.90, Active",
    "99, 1605, 698.00, Active",
    "0, 345, 75.10, Not Active",
)


def test_a_line_is_a_sample_and_one_without_a_value_is_none() -> None:
    assert parse_sample(LINES[1]) == ClockSample(98.0, 1500.0, 699.9, is_held_back=True)
    assert parse_sample("98, 1500, [N/A], Not Active") is parse_sample("Unable to determine") is None


def test_medians_are_of_the_samples_in_which_the_gpu_was_busy() -> None:
    samples = [sample for line in LINES if (sample := parse_sample(line))]
    assert describe_clocks(samples) == "1,605 MHz, 698 W, at the power limit 67% of the time"
    assert describe_clocks(samples[3:]) == describe_clocks([]) == ""


def test_a_watch_tells_each_sample_once_and_of_the_gpu_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a program that writes its arguments to a file, and one busy sample to its pipe."""
    script, asked = tmp_path / "nvidia-smi", tmp_path / "asked"
    script.write_text(f"#!/bin/sh\necho $@ > {asked}\necho '{LINES[3]}'\necho '{LINES[0]}'\nexec sleep 60\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,1")
    watch, told = ClockWatch(), ""
    deadline = time.monotonic() + 20
    while not told and time.monotonic() < deadline:
        time.sleep(0.02)
        told = watch.take()
    watch.close()
    assert told == "1,755 MHz, 640 W, at the power limit 0% of the time"
    assert watch.take() == ""
    assert asked.read_text().startswith("-i 3 --query-gpu=utilization.gpu,clocks.sm,power.draw,")


def test_without_nvidia_smi_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert ClockWatch().take() == ""
