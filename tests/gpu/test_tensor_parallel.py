"""A model over two GPUs: sums in CUDA graphs, the tokens of one GPU, and ranks that end together."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from pagoda_server.engine.config import EngineConfig
from pagoda_server.runtime.build import BuiltEngine, build_engine
from pagoda_server.wire import Sampling, Submit, TokenLogprobs

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore:Waiting for pending NCCL work:UserWarning"),  # before a capture
    pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA GPUs of one machine"),
]
ROOT = Path(__file__).parents[2]
MODEL = ROOT / "server_image" / "sample_model" / "pagoda-tiny"
LIMIT_SECONDS = 180
Answers = list[tuple[list[int], list[TokenLogprobs]]]


@pytest.fixture(autouse=True)
def paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "server_image"))


def find_fraction() -> float:
    """A tenth more of the first GPU's memory than is in use, by an engine before this one."""
    free_bytes, total_bytes = torch.cuda.mem_get_info(0)
    return 1.0 - free_bytes / total_bytes + 0.1


@pytest.fixture
def build(tmp_path: Path) -> Iterator[Callable[..., BuiltEngine]]:
    built: list[BuiltEngine] = []

    def build_one(ranks: int, **settings: Any) -> BuiltEngine:
        config = EngineConfig(
            model=MODEL,
            socket=tmp_path / "engine.sock",
            device="cuda",
            tensor_parallel=ranks,
            max_num_seqs=32,
            gpu_memory_fraction=find_fraction(),
            **settings,
        )
        built.append(build_engine(config))
        while built[-1].engine.runner.prepare_next():
            pass
        return built[-1]

    yield build_one
    for one in built:
        one.close()


def answer(built: BuiltEngine, samplings: list[Sampling]) -> Answers:
    answers: Answers = [([], []) for _ in samplings]
    for index, sampling in enumerate(samplings):
        prompt = [3 + (7 * index + 11 * position) % 1500 for position in range(9 + 23 * index)]
        assert built.engine.submit(Submit(str(index), prompt, sampling)) is None
    while built.engine.has_work:
        for delta in built.engine.step():
            answers[int(delta.request_id)][0].extend(delta.token_ids)
            answers[int(delta.request_id)][1].extend(delta.logprobs or ())
    return answers


SAMPLINGS = [
    Sampling(max_tokens=32, temperature=0.0, logprobs=2, ignore_eos=True),
    Sampling(max_tokens=32, temperature=0.0, logprobs=2, ignore_eos=True),
    Sampling(max_tokens=32, temperature=0.8, seed=5, top_p=0.9, logprobs=2, ignore_eos=True),
    Sampling(max_tokens=32, temperature=0.0, presence_penalty=0.5, min_tokens=8, logprobs=2),
]


def test_sums_are_right_and_the_same_on_every_rank(tmp_path: Path) -> None:
    command = [sys.executable, str(Path(__file__).with_name("sum_on_rank.py"))]
    ranks = [subprocess.Popen([*command, str(rank), "2", str(tmp_path / "store")]) for rank in range(2)]
    assert [rank.wait(LIMIT_SECONDS) for rank in ranks] == [0, 0]


def test_float32_gives_the_tokens_of_one_gpu(build: Callable[..., BuiltEngine]) -> None:
    expected = answer(build(1, dtype="float32"), SAMPLINGS)
    found = answer(build(2, dtype="float32"), SAMPLINGS)
    assert [tokens for tokens, _ in found] == [tokens for tokens, _ in expected]
    for (_, ours), (_, theirs) in zip(found, expected, strict=True):
        assert [one.chosen for one in ours] == pytest.approx([one.chosen for one in theirs], abs=1e-3)


@pytest.mark.parametrize("fp8", [False, True])
def test_graphs_one_step_ahead_give_log_probabilities_near_one_gpus(
    fp8: bool, build: Callable[..., BuiltEngine]
) -> None:
    """Rounding differs, so that tokens may part later; the first of each is of the same prompt."""
    settings = {"quantization": "fp8", "kv_cache_dtype": "fp8"} if fp8 else {}
    expected, found = (answer(build(ranks, dtype="bfloat16", **settings), SAMPLINGS) for ranks in (1, 2))
    again = answer(build(2, dtype="bfloat16", **settings), SAMPLINGS)
    assert [tokens for tokens, _ in again] == [tokens for tokens, _ in found]
    for (_, ours), (_, theirs) in zip(found, expected, strict=True):
        nearby, others = dict(ours[0].top), dict(theirs[0].top)
        shared = nearby.keys() & others.keys()
        assert shared
        assert [nearby[token] for token in shared] == pytest.approx(
            [others[token] for token in shared], abs=1.0 if fp8 else 0.25
        )


def test_a_killed_rank_ends_the_engine(tmp_path: Path) -> None:
    """Whether or not a kernel waits for it."""
    socket = tmp_path / "engine.sock"
    command = [sys.executable, "-m", "pagoda_server", "engine", f"--model={MODEL}", f"--socket={socket}"]
    engine = subprocess.Popen(
        [*command, "--device=cuda", "--tensor-parallel=2", f"--gpu-memory-fraction={find_fraction()}"]
    )
    deadline = time.monotonic() + LIMIT_SECONDS
    while not socket.exists():
        assert engine.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    children = [path.read_text().split() for path in Path(f"/proc/{engine.pid}/task").glob("*/children")]
    os.kill(int(next(pid for pids in children for pid in pids)), signal.SIGKILL)
    assert engine.wait(30) == 1
