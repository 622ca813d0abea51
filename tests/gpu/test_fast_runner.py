"""The fast runner on a GPU: near the reference, and whole after a storm of aborts."""

import random
from pathlib import Path

import pytest
import torch

from pagoda_server.engine.pages import PagePool
from pagoda_server.engine.scheduler import Limits
from pagoda_server.engine.step import Engine, Runner
from pagoda_server.model.config import read_model_config
from pagoda_server.model.llama import Llama
from pagoda_server.model.loader import load_model
from pagoda_server.runtime.runner import ModelRunner
from pagoda_server.wire import Sampling, Submit, TokenLogprobs

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")]
FOLDER = Path(__file__).parents[2] / "server_image" / "sample_model" / "pagoda-tiny"
PAGES, PAGE_SIZE = 256, 64
TOLERANCE = 0.1
"""Between log-probabilities of two ways to compute in bf16."""


@pytest.fixture(scope="module")
def model() -> Llama:
    return load_model(FOLDER, read_model_config(FOLDER), torch.device("cuda"), torch.bfloat16)


@pytest.fixture(scope="module")
def fast(model: Llama) -> Runner:
    from pagoda_server.runtime.gpu_runner import GpuRunner

    runner = GpuRunner(model, limits_of(model), PAGES, PAGE_SIZE)
    runner.capture_first()
    return runner


def limits_of(model: Llama) -> Limits:
    return Limits(max_model_len=512, max_num_seqs=32, max_num_batched_tokens=256, vocab_size=model.config.vocab_size)


def build(runner: Runner, model: Llama) -> Engine:
    return Engine(runner, limits_of(model), PagePool(PAGES, PAGE_SIZE))


def prompts_of(model: Llama, lengths: list[int]) -> list[list[int]]:
    draw = random.Random(3)
    return [[draw.randrange(5, model.config.vocab_size) for _ in range(length)] for length in lengths]


def answer(
    engine: Engine, prompts: list[list[int]], sampling: Sampling, *, prepares: bool = False
) -> list[list[tuple[int, TokenLogprobs | None]]]:
    found: list[list[tuple[int, TokenLogprobs | None]]] = [[] for _ in prompts]
    for index, prompt in enumerate(prompts):
        assert engine.submit(Submit(str(index), prompt, sampling)) is None
    while engine.has_work:
        deltas = engine.step()
        if prepares:
            deltas += engine.settle()
            engine.runner.prepare_next()
        for delta in deltas:
            found[int(delta.request_id)] += zip(delta.token_ids, delta.logprobs or [None], strict=True)
    return found


@pytest.mark.parametrize("prepares", [False, True])
def test_walks_beside_the_reference_within_the_tolerance_of_bf16(model: Llama, fast: Runner, prepares: bool) -> None:
    """At the first difference each one's token is in the other's top 5, while graphs are captured between steps too."""
    prompts = prompts_of(model, [5, 100, 17, 300, 1, 65, 64, 63])
    sampling = Sampling(max_tokens=40, temperature=0.0, logprobs=5, ignore_eos=True)
    ours = answer(build(fast, model), prompts, sampling, prepares=prepares)
    theirs = answer(build(ModelRunner(model, PAGES, PAGE_SIZE), model), prompts, sampling)
    for mine, wanted in zip(ours, theirs, strict=True):
        for (token, logprobs), (other, other_logprobs) in zip(mine, wanted, strict=True):
            assert logprobs is not None and other_logprobs is not None
            assert token in [t for t, _ in other_logprobs.top] and other in [t for t, _ in logprobs.top]
            if token != other:
                break
            assert logprobs.chosen == pytest.approx(other_logprobs.chosen, abs=TOLERANCE)


def test_a_storm_of_aborts_loses_no_page_and_no_row(model: Llama, fast: Runner) -> None:
    engine, draw = build(fast, model), random.Random(5)
    names: list[str] = []
    for number in range(300):
        names.append(str(number))
        (prompt,) = prompts_of(model, [draw.randrange(1, 300)])
        assert engine.submit(Submit(names[-1], prompt, Sampling(max_tokens=draw.randrange(1, 60)))) is None
        engine.step()
        if draw.random() < 0.4:
            engine.abort(draw.choice(names))
    while engine.has_work:
        engine.step()
    engine.scheduler.check_integrity()
    assert engine.scheduler.pool.num_owned == 0
