"""A model over two GPUs: sums in CUDA graphs, the tokens of one GPU, and ranks that end together."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA GPUs of one machine"),
]
ROOT = Path(__file__).parents[2]
MODEL = ROOT / "server_image" / "sample_model" / "pagoda-tiny"
LIMIT_SECONDS = 180


@pytest.fixture(autouse=True)
def paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "server_image"), prepend=os.pathsep)


def answer(ranks: int, dtype: str, *more: str) -> list[dict[str, Any]]:
    command = [sys.executable, str(Path(__file__).with_name("answer_on_ranks.py")), str(ranks), dtype, *more]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=LIMIT_SECONDS, check=True)
    answers: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return answers


def list_tokens(answers: list[dict[str, Any]]) -> list[list[int]]:
    return [one["tokens"] for one in answers]


def test_sums_are_right_and_the_same_on_every_rank(tmp_path: Path) -> None:
    command = [sys.executable, str(Path(__file__).with_name("sum_on_rank.py"))]
    ranks = [subprocess.Popen([*command, str(rank), "2", str(tmp_path / "store")]) for rank in range(2)]
    assert [rank.wait(LIMIT_SECONDS) for rank in ranks] == [0, 0]


def test_float32_gives_the_tokens_of_one_gpu() -> None:
    expected, found = (answer(ranks, "float32") for ranks in (1, 2))
    assert list_tokens(found) == list_tokens(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours["chosen"] == pytest.approx(theirs["chosen"], abs=1e-3)


def test_graphs_one_step_ahead_give_log_probabilities_near_one_gpus() -> None:
    """Rounding differs, so that tokens may part later; the first of each is of the same prompt."""
    expected, found, again = (answer(ranks, "bfloat16") for ranks in (1, 2, 2))
    assert list_tokens(again) == list_tokens(found)
    for ours, theirs in zip(found, expected, strict=True):
        nearby, others = dict(ours["first"]), dict(theirs["first"])
        shared = nearby.keys() & others.keys()
        assert shared
        assert [nearby[token] for token in shared] == pytest.approx([others[token] for token in shared], abs=0.25)


def test_fp8_gives_the_answers_of_one_gpu() -> None:
    """To questions on which the model is sure: a rank quantizes its share of a token with a scale of its own."""
    expected, found, again = (answer(ranks, "bfloat16", "fp8") for ranks in (1, 2, 2))
    assert list_tokens(again) == list_tokens(found) == list_tokens(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours["chosen"] == pytest.approx(theirs["chosen"], abs=0.5)


def test_a_killed_rank_ends_the_engine(tmp_path: Path) -> None:
    """Whether or not a kernel waits for it."""
    socket = tmp_path / "engine.sock"
    command = [sys.executable, "-m", "pagoda_server", "engine", f"--model={MODEL}", f"--socket={socket}"]
    engine = subprocess.Popen([*command, "--device=cuda", "--tensor-parallel=2", "--gpu-memory-fraction=0.2"])
    deadline = time.monotonic() + LIMIT_SECONDS
    while not socket.exists():
        assert engine.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    children = [path.read_text().split() for path in Path(f"/proc/{engine.pid}/task").glob("*/children")]
    os.kill(int(next(pid for pids in children for pid in pids)), signal.SIGKILL)
    assert engine.wait(30) == 1
