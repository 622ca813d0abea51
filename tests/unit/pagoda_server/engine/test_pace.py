"""A prompt beside streams: how far it may stretch the gap between their tokens, in simulated time."""

from dataclasses import replace

import pytest

from pagoda_server.engine.batch import Limits
from pagoda_server.engine.capacity import Measured
from pagoda_server.engine.engine import Engine
from pagoda_server.engine.pace import MIN_PROMPT_TOKENS, StepCost, limit_prompt_tokens
from pagoda_server.engine.pages import PagePool
from pagoda_server.wire import Sampling, Submit
from tests.doubles.simulated import LLAMA_8B_ON_H200, build_simulated_runner

LIMITS = Limits(max_model_len=110_000, max_num_seqs=256, max_batched_tokens=8192, vocab_size=10)
PER_PROMPT_TOKEN = LLAMA_8B_ON_H200.prompt_token_seconds


class Streams:
    def __init__(self, run_ahead: int, pair_seconds: float = 0.0) -> None:
        self.cost = replace(LLAMA_8B_ON_H200, prompt_pair_seconds=pair_seconds)
        self.device = build_simulated_runner(self.cost, run_ahead)
        self.engine = Engine(
            self.device,
            LIMITS,
            PagePool(8000, 64),
            prefix_caching=False,
            clock=lambda: self.device.now,
            measured=Measured(step_cost=self.cost),
        )
        self.first_tokens: dict[str, float] = {}
        self.gaps: list[float] = []

    def submit(self, name: str, prompt_tokens: int, max_tokens: int, *, is_streamed: bool = True) -> None:
        sampling = Sampling(max_tokens=max_tokens, temperature=0.0)
        assert self.engine.submit(Submit(name, [1] * prompt_tokens, sampling, is_streamed=is_streamed)) is None

    def step(self) -> None:
        before = self.device.now
        deltas = self.engine.step()
        for delta in deltas:
            self.first_tokens.setdefault(delta.request_id, self.device.now)
        if deltas:
            self.gaps.append(self.device.now - before)


def decode(streams: Streams, num_streams: int, *, num_whole: int = 0) -> float:
    """So many answers are under way. Returns the usual gap; those that come are kept from now on."""
    for index in range(num_streams + num_whole):
        streams.submit(f"answer {index}", 100, 9000, is_streamed=index < num_streams)
    for _ in range(50):
        streams.step()
    usual = max(streams.gaps[-20:])
    streams.gaps.clear()
    return usual


def prefill(streams: Streams, num_prompts: int, prompt_tokens: int, *, is_streamed: bool = True) -> float:
    """So many come at once. Returns how long the last waits for its first token, beside having the device alone."""
    begin, names = streams.device.now, [f"prompt {index}" for index in range(num_prompts)]
    for name in names:
        streams.submit(name, prompt_tokens, 200, is_streamed=is_streamed)
    while not streams.first_tokens.keys() >= set(names):
        streams.step()
    alone_seconds = prompt_tokens * PER_PROMPT_TOKEN + prompt_tokens**2 / 2 * streams.cost.prompt_pair_seconds
    return (streams.device.now - begin) / (num_prompts * alone_seconds)


@pytest.mark.parametrize("num_streams", [1, 8, 32])
@pytest.mark.parametrize("pair_seconds", [0.0, 3.6e-9])
@pytest.mark.parametrize("run_ahead", [0, 1])
def test_a_long_prompt_does_not_double_the_gap_between_the_tokens_of_others(
    run_ahead: int, pair_seconds: float, num_streams: int
) -> None:
    """Where its tokens cost the same, and where its last ones cost twice as much as its first."""
    streams = Streams(run_ahead, pair_seconds)
    usual = decode(streams, num_streams)
    assert prefill(streams, 1, 8000) < 3, "and it is not put off for long"
    assert max(streams.gaps) < 1.75 * usual


@pytest.mark.parametrize("num_streams", [1, 8, 32])
@pytest.mark.parametrize("run_ahead", [0, 1])
def test_nor_does_one_whose_last_tokens_cost_six_times_its_first(run_ahead: int, num_streams: int) -> None:
    """It takes so long that the contexts of the others grow, and their usual gap with them: that of the end counts."""
    streams = Streams(run_ahead, pair_seconds=1.45e-9)
    decode(streams, num_streams)
    assert prefill(streams, 1, 100_000) < 3
    disturbed = max(streams.gaps)
    for _ in range(20):
        streams.step()
    assert disturbed < 2 * max(streams.gaps[-10:])


@pytest.mark.parametrize(("num_streams", "num_whole"), [(32, 0), (1, 47), (1, 200)])
@pytest.mark.parametrize("is_streamed", [False, True])
def test_nor_do_two_beside_many_answers_one_of_which_is_streamed(
    num_streams: int, num_whole: int, is_streamed: bool
) -> None:
    streams = Streams(1)
    usual = decode(streams, num_streams, num_whole=num_whole)
    prefill(streams, 2, 1000, is_streamed=is_streamed)
    assert max(streams.gaps) < 1.75 * usual


def test_a_crowd_of_prompts_is_not_held_back_by_the_first_that_decode() -> None:
    assert prefill(Streams(1), 60, 1000) < 1.3


def test_beside_hundreds_of_streams_a_dozen_prompts_are_not_let_in_one_by_one() -> None:
    streams = Streams(1)
    decode(streams, 200)
    assert prefill(streams, 12, 500) < 2


def test_answers_that_come_whole_hold_no_prompt_back() -> None:
    streams = Streams(1)
    usual = decode(streams, 0, num_whole=32)
    prefill(streams, 1, 8000)
    assert max(streams.gaps) == pytest.approx(usual + 8000 * PER_PROMPT_TOKEN, rel=0.01), "all of it in one step"


def test_a_slow_device_still_gets_a_few_tokens_a_step() -> None:
    cost = StepCost(base_seconds=0.001, context_token_seconds=0.0, prompt_token_seconds=0.1)
    assert limit_prompt_tokens(cost, 100, 1, 1) == MIN_PROMPT_TOKENS
