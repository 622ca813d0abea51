"""The one entry of the benchmarks."""

import subprocess
import sys
from pathlib import Path

import pytest

from bench.__main__ import main
from bench.commands import COMMANDS

ROOT = Path(__file__).parents[3]
LOADS_KERNELS = "kernels"
"""Its help is asked for in `tests/unit/pagoda_server/kernels`, where the interpreter is chosen."""


def read_help(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        main([*words, "--help"])
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_help_lists_every_command_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    lines = read_help([], capsys).splitlines()
    for command in COMMANDS.values():
        [line] = [line for line in lines if line.startswith(f"  {command.name} ")]
        assert line.endswith(command.summary) and len(line) <= 100


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - {LOADS_KERNELS}))
def test_a_command_tells_its_flags(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert read_help([name], capsys).startswith(f"usage: python -m bench {name} ")


def test_an_unknown_command_is_refused_with_those_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["vllm"])
    assert ended.value.code == 2
    assert "vllm-offline" in capsys.readouterr().err


def test_an_unknown_job_is_told_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "sglang"]) == 2
    assert capsys.readouterr().err.startswith("python -m bench run: job 'sglang' is not known; give one of vllm/")


PEERS = "offline.vllm offline.transformers serving.server serving.http_load serving.interference work.model_dir"
RESULTS = "__main__ run plan report.merge report.charts"


@pytest.mark.parametrize("module", [f"bench.{name}" for name in f"{PEERS} {RESULTS}".split()])
def test_peers_and_results_need_the_standard_library_alone(module: str) -> None:
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import {module}"
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True)
