"""A prompt beside streams: how far it may stretch the gap between their tokens, in simulated time."""

from collections.abc import Sequence

import pytest

from pagoda_server.engine.pace import LEAST_PROMPT_TOKENS, Pace
from pagoda_server.engine.pages import PagePool
from pagoda_server.engine.scheduler import Chunk, Limits
from pagoda_server.engine.step import Engine, Launched
from pagoda_server.wire import Sampling, Submit

LIMITS = Limits(max_model_len=10_000, max_num_seqs=64, max_num_batched_tokens=8192, vocab_size=10)


class TimedRunner:
    """A device whose steps take what an 8B model's take on an H200, one after another."""

    def __init__(self, run_ahead: int) -> None:
        self.run_ahead, self.now, self.busy_until = run_ahead, 0.0, 0.0

    def launch(self, chunks: Sequence[Chunk]) -> Launched:
        prompt_tokens = sum(chunk.num_tokens for chunk in chunks if chunk.num_tokens > 1)
        seconds = 0.005 + 0.00005 * len(chunks) + 0.000022 * prompt_tokens
        self.busy_until = end = max(self.now, self.busy_until) + seconds

        def wait() -> list[tuple[int, None]]:
            self.now = max(self.now, end)
            return [(1, None) for chunk in chunks if chunk.samples]

        return wait


class Streams:
    def __init__(self, run_ahead: int) -> None:
        self.runner = TimedRunner(run_ahead)
        pool = PagePool(2000, 64)
        self.engine = Engine(self.runner, LIMITS, pool, prefix_caching=False, clock=lambda: self.runner.now)
        self.first_tokens: dict[str, float] = {}
        self.gaps: list[float] = []

    def submit(self, name: str, prompt_tokens: int, max_tokens: int) -> None:
        sampling = Sampling(max_tokens=max_tokens, temperature=0.0)
        assert self.engine.submit(Submit(name, [1] * prompt_tokens, sampling)) is None

    def step(self) -> None:
        before = self.runner.now
        deltas = self.engine.step()
        for delta in deltas:
            self.first_tokens.setdefault(delta.request_id, self.runner.now)
        if deltas:
            self.gaps.append(self.runner.now - before)


@pytest.mark.parametrize("run_ahead", [0, 1])
def test_a_long_prompt_does_not_double_the_gap_between_the_tokens_of_others(run_ahead: int) -> None:
    streams = Streams(run_ahead)
    for index in range(32):
        streams.submit(f"stream {index}", 100, 1000)
    streams.submit("first long", 8000, 1)  # the pace is learnt from it
    while "first long" not in streams.first_tokens:
        streams.step()
    for _ in range(50):
        streams.step()
    usual = max(streams.gaps[-20:])
    streams.gaps.clear()
    streams.submit("long", 8000, 1)
    begin = streams.runner.now
    while "long" not in streams.first_tokens:
        streams.step()
    assert max(streams.gaps) < 2 * usual
    assert streams.runner.now - begin < 3 * 8000 * 0.000022, "and it is not put off for long"


def test_a_crowd_of_prompts_is_not_held_back_by_the_first_that_decode() -> None:
    streams = Streams(1)
    for index in range(60):
        streams.submit(f"warm {index}", 100, 20)
    while streams.engine.has_work:
        streams.step()
    begin = streams.runner.now
    for index in range(60):
        streams.submit(f"crowd {index}", 1000, 200)
    while f"crowd {59}" not in streams.first_tokens:
        streams.step()
    alone_seconds = 60 * 1000 * 0.000022
    assert streams.runner.now - begin < 1.5 * alone_seconds


def test_no_limit_before_both_kinds_of_step_were_seen() -> None:
    pace = Pace()
    assert pace.limit_prompt_tokens(8, 1) is None
    pace.observe(8, 0, 0.006)
    assert pace.limit_prompt_tokens(8, 1) is None
    pace.observe(8, 1000, 0.028)
    assert pace.limit_prompt_tokens(8, 1) == int(0.7 * 0.006 / 0.000022)
    assert pace.limit_prompt_tokens(8, 8) == int(4 * 0.006 / 0.000022)
    assert pace.limit_prompt_tokens(0, 1) is None


def test_one_disturbed_step_changes_nothing() -> None:
    pace = Pace()
    for _ in range(3):
        pace.observe(8, 0, 0.006)
        pace.observe(8, 1000, 0.028)
    before = pace.limit_prompt_tokens(8, 1)
    pace.observe(8, 0, 2.0)
    pace.observe(8, 1000, 5.0)
    assert pace.limit_prompt_tokens(8, 1) == pytest.approx(before, rel=0.01)


def test_a_slow_device_still_gets_a_few_tokens_a_step() -> None:
    pace = Pace()
    pace.observe(1, 0, 0.001)
    pace.observe(1, 128, 1.0)
    assert pace.limit_prompt_tokens(1, 1) == LEAST_PROMPT_TOKENS
