"""The fast runner on a GPU: near the reference, and whole after a storm of aborts."""

import math
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from pagoda_server.engine.batch import Limits
from pagoda_server.engine.engine import Engine
from pagoda_server.engine.pages import PagePool
from pagoda_server.engine.runner import Runner
from pagoda_server.model.config import read_model_config
from pagoda_server.model.llama import Llama
from pagoda_server.model.loader import load_model
from pagoda_server.runtime.reference.runner import ReferenceRunner
from pagoda_server.wire import Sampling, Submit, TokenLogprobs
from tests.doubles.runners import GuardedRunner

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")]
FOLDER = Path(__file__).parents[2] / "server_image" / "sample_model" / "pagoda-tiny"
PAGES, PAGE_SIZE = 256, 64
MORE_ERROR = 1.5
"""Times the error of the reference in bf16, which rounds as often."""
GREEDY = Sampling(max_tokens=40, temperature=0.0, logprobs=5, ignore_eos=True)
Walk = list[tuple[int, TokenLogprobs | None]]


@pytest.fixture(scope="module")
def model() -> Llama:
    return load_model(FOLDER, read_model_config(FOLDER), torch.device("cuda"), torch.bfloat16)


@pytest.fixture(scope="module")
def fast(model: Llama) -> Runner:
    from pagoda_server.runtime.gpu.runner import GpuRunner

    runner = GpuRunner(model, limits_of(model), PAGES, PAGE_SIZE)
    runner.capture_first()
    return runner


def limits_of(model: Llama) -> Limits:
    return Limits(max_model_len=512, max_num_seqs=32, max_batched_tokens=256, vocab_size=model.config.vocab_size)


def build(runner: Runner, model: Llama) -> Engine:
    return Engine(runner, limits_of(model), PagePool(PAGES, PAGE_SIZE))


def prompts_of(model: Llama, lengths: list[int]) -> list[list[int]]:
    draw = random.Random(3)
    return [[draw.randrange(5, model.config.vocab_size) for _ in range(length)] for length in lengths]


def answer(engine: Engine, prompts: list[list[int]], sampling: Sampling, *, prepares: bool = False) -> list[Walk]:
    found: list[Walk] = [[] for _ in prompts]
    for index, prompt in enumerate(prompts):
        assert engine.submit(Submit(str(index), prompt, sampling)) is None
    while engine.has_work:
        deltas = engine.step()
        if prepares:
            deltas += engine.drain()
            engine.runner.prepare_next()
        for delta in deltas:
            found[int(delta.request_id)] += zip(delta.token_ids, delta.logprobs or (None,), strict=True)
    return found


@pytest.mark.parametrize("prepares", [False, True])
def test_is_as_near_to_float32_as_plain_bf16_is(model: Llama, fast: Runner, prepares: bool) -> None:
    """Also while graphs are captured between steps.

    Greedy walks, compared until one leaves the exact one: there each one's token is in the other's top 5.
    """
    prompts = prompts_of(model, [5, 100, 17, 300, 1, 65, 64, 63])
    wide = load_model(FOLDER, model.config, torch.device("cuda"), torch.float32)
    exact = answer(build(ReferenceRunner(wide, PAGES, PAGE_SIZE), model), prompts, GREEDY)
    ours = measure_distance(answer(build(fast, model), prompts, GREEDY, prepares=prepares), exact)
    plain = measure_distance(answer(build(ReferenceRunner(model, PAGES, PAGE_SIZE), model), prompts, GREEDY), exact)
    assert ours <= MORE_ERROR * plain


@contextmanager
def refuse_to_wait() -> Iterator[None]:
    """Raises RuntimeError where the host waits for the device."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_no_launch_waits_for_the_step_before(model: Llama, fast: Runner) -> None:
    """One request's log-probabilities must not keep the whole batch from running ahead."""
    prompts = prompts_of(model, [5, 100, 17])
    answer(build(fast, model), prompts, GREEDY)  # compiles what is compiled when it is first used
    for walk in answer(build(GuardedRunner(fast, refuse_to_wait), model), prompts, GREEDY):
        assert len(walk) == GREEDY.max_tokens
        assert all(logprobs is not None and len(logprobs.top) == 5 for _, logprobs in walk)


def measure_distance(found: list[Walk], exact: list[Walk]) -> float:
    """Root mean square of the differences of the chosen tokens' log-probabilities."""
    squares = []
    for walk, wanted in zip(found, exact, strict=True):
        for (token, logprobs), (other, other_logprobs) in zip(walk, wanted, strict=True):
            assert logprobs is not None and other_logprobs is not None
            assert token in [t for t, _ in other_logprobs.top] and other in [t for t, _ in logprobs.top]
            if token != other:
                break
            squares.append((logprobs.chosen - other_logprobs.chosen) ** 2)
    assert len(squares) >= 40
    return math.sqrt(sum(squares) / len(squares))


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
