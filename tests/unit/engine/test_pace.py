"""A prompt beside streams: how far it may stretch the gap between their tokens, in simulated time."""

from collections.abc import Sequence

import pytest

from pagoda_server.engine.pace import LEAST_PROMPT_TOKENS, StepCost, limit_prompt_tokens
from pagoda_server.engine.pages import PagePool
from pagoda_server.engine.scheduler import Chunk, Limits
from pagoda_server.engine.step import Engine, Launched
from pagoda_server.wire import Sampling, Submit

BASE, PER_CONTEXT_TOKEN, PER_PROMPT_TOKEN = 0.0047, 3.2e-8, 2.2e-5
"""Seconds of an 8B model's step on an H200."""
LIMITS = Limits(max_model_len=110_000, max_num_seqs=256, max_num_batched_tokens=8192, vocab_size=10)


class TimedRunner:
    """A device that works on one step after another."""

    def __init__(self, run_ahead: int, pair_seconds: float) -> None:
        self.run_ahead, self.now, self.busy_until = run_ahead, 0.0, 0.0
        self.pair_seconds = pair_seconds

    def launch(self, chunks: Sequence[Chunk]) -> Launched:
        prompt_tokens = sum(chunk.num_tokens for chunk in chunks if chunk.num_tokens > 1)
        context_tokens = sum(chunk.end for chunk in chunks if chunk.num_tokens == 1)
        pairs = sum(chunk.num_tokens * (chunk.start + chunk.num_tokens / 2) for chunk in chunks if chunk.num_tokens > 1)
        seconds = (
            BASE + PER_CONTEXT_TOKEN * context_tokens + PER_PROMPT_TOKEN * prompt_tokens + self.pair_seconds * pairs
        )
        self.busy_until = end = max(self.now, self.busy_until) + seconds

        def wait() -> list[tuple[int, None]]:
            self.now = max(self.now, end)
            return [(1, None) for chunk in chunks if chunk.samples]

        return wait


class Streams:
    def __init__(self, run_ahead: int, pair_seconds: float = 0.0) -> None:
        self.runner = TimedRunner(run_ahead, pair_seconds)
        self.engine = Engine(
            self.runner,
            LIMITS,
            PagePool(8000, 64),
            prefix_caching=False,
            clock=lambda: self.runner.now,
            step_cost=StepCost(BASE, PER_CONTEXT_TOKEN, PER_PROMPT_TOKEN, pair_seconds),
        )
        self.first_tokens: dict[str, float] = {}
        self.gaps: list[float] = []

    def submit(self, name: str, prompt_tokens: int, max_tokens: int, *, is_streamed: bool = True) -> None:
        sampling = Sampling(max_tokens=max_tokens, temperature=0.0)
        assert self.engine.submit(Submit(name, [1] * prompt_tokens, sampling, is_streamed=is_streamed)) is None

    def step(self) -> None:
        before = self.runner.now
        deltas = self.engine.step()
        for delta in deltas:
            self.first_tokens.setdefault(delta.request_id, self.runner.now)
        if deltas:
            self.gaps.append(self.runner.now - before)


def disturb(streams: Streams, num_streams: int, prompt_tokens: int) -> float:
    """Streams decode, then a long prompt comes. Its gaps are the last; returns the usual one, from before it."""
    for index in range(num_streams):
        streams.submit(f"stream {index}", 100, 9000)
    for _ in range(50):
        streams.step()
    usual = max(streams.gaps[-20:])
    streams.gaps.clear()
    streams.submit("long", prompt_tokens, 1)
    begin = streams.runner.now
    while "long" not in streams.first_tokens:
        streams.step()
    alone_seconds = prompt_tokens * PER_PROMPT_TOKEN + prompt_tokens**2 / 2 * streams.runner.pair_seconds
    assert streams.runner.now - begin < 3 * alone_seconds, "and it is not put off for long"
    return usual


@pytest.mark.parametrize("num_streams", [1, 8, 32])
@pytest.mark.parametrize("pair_seconds", [0.0, 3e-9])
@pytest.mark.parametrize("run_ahead", [0, 1])
def test_a_long_prompt_does_not_double_the_gap_between_the_tokens_of_others(
    run_ahead: int, pair_seconds: float, num_streams: int
) -> None:
    """Where its tokens cost the same, and where its last ones cost twice as much as its first."""
    streams = Streams(run_ahead, pair_seconds)
    usual = disturb(streams, num_streams, 8000)
    assert max(streams.gaps) < 2 * usual


@pytest.mark.parametrize("num_streams", [1, 8, 32])
@pytest.mark.parametrize("run_ahead", [0, 1])
def test_nor_does_one_whose_last_tokens_cost_six_times_its_first(run_ahead: int, num_streams: int) -> None:
    """It takes so long that the contexts of the others grow, and their usual gap with them: that of the end counts."""
    streams = Streams(run_ahead, pair_seconds=1.2e-9)
    disturb(streams, num_streams, 100_000)
    disturbed = max(streams.gaps)
    for _ in range(20):
        streams.step()
    assert disturbed < 2 * max(streams.gaps[-10:])


def test_a_crowd_of_prompts_is_not_held_back_by_the_first_that_decode() -> None:
    streams = Streams(1)
    for index in range(60):
        streams.submit(f"crowd {index}", 1000, 200)
    while f"crowd {59}" not in streams.first_tokens:
        streams.step()
    alone_seconds = 60 * 1000 * PER_PROMPT_TOKEN
    assert streams.runner.now < 1.3 * alone_seconds


def test_among_many_streams_a_dozen_prompts_are_not_let_in_one_by_one() -> None:
    streams = Streams(1)
    for index in range(200):
        streams.submit(f"stream {index}", 100, 9000)
    for _ in range(50):
        streams.step()
    begin = streams.runner.now
    for index in range(12):
        streams.submit(f"new {index}", 500, 200)
    while "new 11" not in streams.first_tokens:
        streams.step()
    alone_seconds = 12 * 500 * PER_PROMPT_TOKEN
    assert streams.runner.now - begin < 2 * alone_seconds


@pytest.mark.parametrize("num_streams", [0, 1])
def test_answers_that_come_whole_hold_no_prompt_back_and_a_stream_among_them_does(num_streams: int) -> None:
    streams = Streams(1)
    for index in range(32):
        streams.submit(f"whole {index}", 100, 9000, is_streamed=index < num_streams)
    for _ in range(50):
        streams.step()
    usual = max(streams.gaps[-20:])
    streams.gaps.clear()
    streams.submit("long", 8000, 1)
    while "long" not in streams.first_tokens:
        streams.step()
    in_one_step = usual + 8000 * PER_PROMPT_TOKEN
    assert max(streams.gaps) < 2 * usual if num_streams else max(streams.gaps) == pytest.approx(in_one_step, rel=0.01)


def test_a_slow_device_still_gets_a_few_tokens_a_step() -> None:
    cost = StepCost(base_seconds=0.001, context_token_seconds=0.0, prompt_token_seconds=0.1)
    assert limit_prompt_tokens(cost, 100, 1, 1) == LEAST_PROMPT_TOKENS
