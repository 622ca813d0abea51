"""The measurement at start: of a full batch in the middle of its context, within its budget, and without a trace."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagoda_server.engine.batch import Chunk, Limits
from pagoda_server.engine.pages import PagePool
from pagoda_server.start.measure_capacity import choose_context, measure_capacity
from tests.doubles.simulated import SimulatedRunner


@dataclass
class Device:
    """A step takes `step_seconds` and `token_seconds` for each of its tokens; the first one `first_seconds` more.

    And `pair_seconds` for each pair of a prompt's token and one before its chunk.
    """

    step_seconds: float
    token_seconds: float
    first_seconds: float = 0.0
    pair_seconds: float = 0.0
    others_seconds: Callable[[], float] = lambda: 0.0
    """What others who use the device add to a step."""
    batches: list[list[Chunk]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.runner = SimulatedRunner(self.count_seconds, run_ahead=0)

    @property
    def now(self) -> float:
        return self.runner.now

    def count_seconds(self, chunks: Sequence[Chunk]) -> float:
        seconds = self.step_seconds + self.token_seconds * sum(chunk.num_tokens for chunk in chunks)
        seconds += self.pair_seconds * sum(c.start * c.num_tokens for c in chunks if c.num_tokens > 1)
        seconds += 0.0 if self.batches else self.first_seconds
        self.batches.append(list(chunks))
        return seconds + self.others_seconds()

    def rate(self, num_tokens: int) -> float:
        return num_tokens / (self.step_seconds + self.token_seconds * num_tokens)


def build_limits(*, model_len: int = 4096, seqs: int = 32, budget: int = 2048) -> Limits:
    return Limits(max_model_len=model_len, max_num_seqs=seqs, max_batched_tokens=budget, vocab_size=50)


def test_it_is_the_mean_of_full_decode_and_prefill_steps() -> None:
    device, pool = Device(step_seconds=0.004, token_seconds=1e-5, first_seconds=30.0), PagePool(2000)
    measured = measure_capacity(device.runner, build_limits(), pool, clock=lambda: device.now)
    assert measured is not None
    assert measured.tokens_per_second == pytest.approx(2 / (1 / device.rate(32) + 1 / device.rate(2048)))
    assert max(chunk.start + 1 for batch in device.batches for chunk in batch if chunk.is_sampled) == 1024
    assert device.now - 30.0 <= 1.1
    assert pool.num_free == 2000


def test_what_a_step_costs_is_told_apart() -> None:
    device = Device(step_seconds=0.004, token_seconds=1e-5, first_seconds=30.0, pair_seconds=1e-9)
    measured = measure_capacity(device.runner, build_limits(), PagePool(2000), clock=lambda: device.now)
    assert measured is not None and measured.step_cost is not None
    assert device.now - 30.0 <= 1.1
    assert measured.step_cost.prompt_pair_seconds == pytest.approx(1e-9)
    assert measured.step_cost.base_seconds == pytest.approx(0.004)
    assert measured.step_cost.context_token_seconds == pytest.approx(1e-5 / 1024)
    assert measured.step_cost.prompt_token_seconds == pytest.approx(1e-5)


def test_a_slow_device_is_measured_with_a_smaller_batch_and_keeps_the_budget() -> None:
    device = Device(step_seconds=0.5, token_seconds=0.05)
    measured = measure_capacity(device.runner, build_limits(model_len=32), PagePool(2000), clock=lambda: device.now)
    assert measured is not None and measured.tokens_per_second is not None
    assert device.now < 6.0 and max(map(len, device.batches)) < 32
    assert measured.tokens_per_second <= 2 / (1 / device.rate(32) + 1 / device.rate(2048)), "never more than it can do"


def stall(random: Random, share: float, longest_seconds: float) -> float:
    return random.uniform(0.0, longest_seconds) if random.random() < share else 0.0


@given(seed=st.integers(0, 2**32), share=st.floats(0.0, 0.5), stall_seconds=st.floats(0.001, 0.1))
def test_who_else_uses_the_device_hardly_changes_it(seed: int, share: float, stall_seconds: float) -> None:
    random = Random(seed)
    device = Device(0.002, 1e-5, others_seconds=lambda: stall(random, share, stall_seconds))
    measured = measure_capacity(device.runner, build_limits(), PagePool(2000), clock=lambda: device.now)
    assert measured is not None and measured.tokens_per_second is not None
    alone = 2 / (1 / device.rate(32) + 1 / device.rate(2048))
    assert 0.5 * alone < measured.tokens_per_second <= alone * (1 + 1e-9)
    assert device.now < 4.0 + 3 * (0.03 + stall_seconds), "the budget and three first uses"


@pytest.mark.parametrize(
    ("pages", "model_len", "seqs", "context"),
    [(2000, 4096, 32, 1024), (2000, 1000, 32, 500), (128, 4096, 32, 128), (32, 4096, 32, 32), (4, 4096, 4, 32)],
)
def test_the_context_is_half_of_what_a_sequence_may_have(pages: int, model_len: int, seqs: int, context: int) -> None:
    limits = build_limits(model_len=model_len, seqs=seqs)
    assert choose_context(limits, PagePool(pages, 64), seqs) == context


@pytest.mark.parametrize("pages", [1, 3, 40])
def test_a_real_runner_is_measured_on_scratch_pages_that_are_given_back(build_engine: Any, pages: int) -> None:
    engine = build_engine(pages=pages)
    scheduler = engine.scheduler
    measured = measure_capacity(engine.runner, scheduler.limits, scheduler.pool, budget_seconds=0.1)
    assert measured is not None and measured.tokens_per_second is not None and measured.step_cost is not None
    assert measured.tokens_per_second > 0 and measured.step_cost.prompt_token_seconds > 0
    assert scheduler.pool.num_free == pages
    scheduler.check_integrity()


def test_nothing_is_measured_without_a_free_page(build_engine: Any) -> None:
    engine = build_engine(pages=2)
    engine.scheduler.pool.allocate(2)
    assert measure_capacity(engine.runner, engine.scheduler.limits, engine.scheduler.pool) is None
