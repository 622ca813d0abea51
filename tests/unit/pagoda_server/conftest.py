"""Tiny random-weight models in float32, an engine around each, and the device of the kernels' tests."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pagoda_server.engine.batch import Limits
from pagoda_server.engine.engine import Engine
from pagoda_server.engine.pages import PagePool
from pagoda_server.model.config import read_model_config
from pagoda_server.model.loader import load_model
from pagoda_server.runtime.reference.runner import ReferenceRunner
from pagoda_server.wire import Delta, Sampling, Submit
from tests.doubles.tiny_models import write_model

Models = dict[str, tuple[Path, Any]]
"""The folder of each, and the model as transformers has it."""
BuildEngine = Callable[..., Engine]
Generate = Callable[..., list[list[int]]]

torch.set_num_threads(1)
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 5000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
MODELS: dict[str, dict[str, Any]] = {
    "llama": {},
    "llama3-rope-tied": {"family": "llama", "rope_parameters": LLAMA3_ROPE, "tie_word_embeddings": True},
    "mistral": {},
    "qwen2": {},
    "qwen3": {"head_dim": 24},
}


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    saved = {}
    for name, changes in MODELS.items():
        folder = tmp_path_factory.mktemp(name)
        saved[name] = (folder, write_model(folder, **{"family": name, **changes}))
    return saved


@pytest.fixture
def build_engine(models: Models) -> BuildEngine:
    def build(
        family: str = "llama",
        *,
        pages: int = 64,
        page_size: int = 4,
        budget: int = 64,
        seqs: int = 8,
        cache: bool = True,
    ) -> Engine:
        folder = models[family][0]
        config = read_model_config(folder)
        runner = ReferenceRunner(load_model(folder, config, torch.device("cpu"), torch.float32), pages, page_size)
        limits = Limits(256, seqs, budget, config.vocab_size, config.eos_token_ids)
        return Engine(runner, limits, PagePool(pages, page_size), prefix_caching=cache)

    return build


@pytest.fixture
def generate() -> Generate:
    """Runs prompts together to their end; the tokens of each."""

    def run(engine: Engine, prompts: list[list[int]], sampling: Sampling) -> list[list[int]]:
        tokens: dict[str, list[int]] = {str(index): [] for index in range(len(prompts))}
        for index, prompt in enumerate(prompts):
            assert engine.submit(Submit(str(index), prompt, sampling)) is None
        while engine.has_work:
            for delta in engine.step():
                assert isinstance(delta, Delta)
                tokens[delta.request_id] += delta.token_ids
        engine.scheduler.check_integrity()
        return list(tokens.values())

    return run


@pytest.fixture
def device() -> torch.device:
    torch.manual_seed(0)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
