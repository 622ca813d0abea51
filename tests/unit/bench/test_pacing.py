"""The closed loop in simulated time."""

import json
from dataclasses import replace

import pytest

from bench.serving.http_load import Load
from bench.simulate.pacing import main, simulate
from tests.doubles.simulated import LLAMA_8B_ON_H200

LOAD = Load(url="", model="", streams=8, requests=24, tokens_in=500, tokens_out=20)


def test_all_is_answered_and_no_faster_than_the_device() -> None:
    report, cost = simulate(LOAD, LLAMA_8B_ON_H200), LLAMA_8B_ON_H200
    assert (report.streams, report.requests, report.failed) == (8, 24, 0)
    seconds = 24 * 20 / report.output_tokens_per_second
    assert seconds > 24 * 500 * cost.prompt_token_seconds + 3 * 20 * cost.base_seconds
    assert report.itl_max_ms >= report.itl_p99_ms >= report.itl_p50_ms > 1e3 * cost.base_seconds


def test_answers_that_come_whole_begin_sooner() -> None:
    load = replace(LOAD, streams=32, requests=64, tokens_out=100)
    streamed, whole = (simulate(load, LLAMA_8B_ON_H200, is_streamed=each) for each in (True, False))
    assert whole.ttft_p50_ms < streamed.ttft_p50_ms
    assert whole.output_tokens_per_second > streamed.output_tokens_per_second


def test_the_command_prints_a_report(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--streams", "4", "--requests", "8", "--tokens-out", "5", "--prompt-us", "10"]) == 0
    assert json.loads(capsys.readouterr().out)["requests"] == 8


@pytest.mark.parametrize("arguments", [["--streams", "9", "--requests", "8"], ["--max-batched-tokens", "100"]])
def test_what_cannot_run_is_refused_by_name(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert arguments[0] in capsys.readouterr().err
