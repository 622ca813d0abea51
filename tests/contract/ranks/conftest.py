"""Tiny models, and engines of one or several ranks around each. The other ranks are real processes."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from pagoda_server.engine.config import EngineConfig
from pagoda_server.start.build import BuiltEngine, build_engine
from pagoda_server.wire import Sampling, Submit, TokenLogprobs
from tests.doubles.tiny_models import write_model

torch.set_num_threads(1)
TINY = Path(__file__).parents[3] / "server_image" / "sample_model" / "pagoda-tiny"
MODELS: dict[str, dict[str, Any]] = {
    "llama-biased": {"family": "llama", "attention_bias": True, "mlp_bias": True},
    "qwen2-tied": {"family": "qwen2", "tie_word_embeddings": True},
    "qwen3": {"family": "qwen3", "head_dim": 32},
}
Answers = dict[str, tuple[list[int], list[TokenLogprobs]]]


@pytest.fixture(autouse=True)
def paths(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other ranks run what these tests import."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path.endswith("server_image")))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folders = {"pagoda-tiny": TINY}
    for name, changes in MODELS.items():
        folders[name] = tmp_path_factory.mktemp(name)
        write_model(folders[name], **changes)
    return folders


@pytest.fixture
def build(
    models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., BuiltEngine]]:
    """With a socket named as from a command line, by a relative path."""
    monkeypatch.chdir(tmp_path)
    built: list[BuiltEngine] = []

    def build_one(model: str, ranks: int, **settings: Any) -> BuiltEngine:
        config = EngineConfig(
            model=models[model],
            socket=Path("engine.sock"),
            device="cpu",
            dtype="float32",
            tensor_parallel=ranks,
            **{"kv_cache_bytes": 16 << 20, "max_num_seqs": 8, "max_batched_tokens": 32, **settings},
        )
        built.append(build_engine(config))
        return built[-1]

    yield build_one
    for one in built:
        one.close()


@pytest.fixture
def answer() -> Callable[[BuiltEngine, list[Sampling]], Answers]:
    """Each request's tokens and log-probabilities; prompts differ in length."""

    def run(built: BuiltEngine, samplings: list[Sampling]) -> Answers:
        engine, answers = built.engine, Answers()
        for index, sampling in enumerate(samplings):
            prompt = [3 + (7 * index + 11 * position) % 190 for position in range(9 + 13 * index)]
            assert engine.submit(Submit(str(index), prompt, sampling)) is None
            answers[str(index)] = ([], [])
        while engine.has_work:
            for delta in engine.step():
                answers[delta.request_id][0].extend(delta.token_ids)
                answers[delta.request_id][1].extend(delta.logprobs or ())
        return answers

    return run
