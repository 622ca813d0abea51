"""The times of a traced request are those of the steps in which it started, had its tokens and was preempted."""

from collections.abc import Sequence

import pytest

from pagoda_server.engine.batch import Chunk, Limits
from pagoda_server.engine.engine import Engine
from pagoda_server.engine.loop import EngineLoop
from pagoda_server.engine.pages import PagePool
from pagoda_server.wire import Delta, Rejected, Sampling, Submit, Timing
from tests.doubles.clock import Clock
from tests.doubles.runners import ConstantRunner

PAGE_SIZE = 16
LIMITS = Limits(max_model_len=1000, max_num_seqs=4, max_batched_tokens=32, vocab_size=100)


class Stepping:
    """An engine whose every step takes a second."""

    def __init__(self, *, pages: int = 80, run_ahead: int = 0) -> None:
        self.clock = Clock(100.0)
        runner = ConstantRunner(run_ahead=run_ahead, look=self._pass_a_second)
        self.engine = Engine(runner, LIMITS, PagePool(pages, PAGE_SIZE), prefix_caching=False, clock=self.clock)

    def _pass_a_second(self, chunks: Sequence[Chunk]) -> None:
        self.clock.now += 1

    def submit(self, name: str, *, prompt: int = 8, answer: int = 4, is_traced: bool = True) -> None:
        submit = Submit(name, [1] * prompt, Sampling(max_tokens=answer), is_traced=is_traced)
        assert self.engine.submit(submit) is None

    def run(self, steps: int = 1000) -> list[Timing]:
        told: list[Timing] = []
        for _ in range(steps):
            if self.engine.has_work:
                self.engine.step()
            told += self.engine.timings.take()
        return told


def test_a_request_is_told_with_its_first_token_and_with_its_last() -> None:
    stepping = Stepping()
    stepping.submit("a", prompt=80, answer=4)
    stepping.clock.now += 5
    first, last = stepping.run()
    # 80 tokens in steps of 32 are three; the first begins at 105 and each takes a second
    assert first == Timing("a", queued_at=100, started_at=105, first_token_at=108, prefill_steps=3)
    assert last == Timing(
        "a", queued_at=100, started_at=105, first_token_at=108, finished_at=111, prefill_steps=3, decode_steps=3
    )


def test_an_answer_of_one_token_is_told_once() -> None:
    stepping = Stepping()
    stepping.submit("a", answer=1)
    (told,) = stepping.run()
    assert (told.first_token_at, told.finished_at, told.prefill_steps, told.decode_steps) == (101, 101, 1, 0)


def test_nothing_is_told_of_what_is_not_traced() -> None:
    stepping = Stepping()
    stepping.submit("a", is_traced=False)
    assert stepping.run() == []


def test_a_preemption_has_its_time_and_the_first_start_stays() -> None:
    stepping = Stepping(pages=6)
    for name in ("old", "young"):
        stepping.submit(name, prompt=30, answer=50)
    last = {told.request_id: told for told in stepping.run() if told.finished_at is not None}
    assert stepping.engine.stats().preemptions >= 1
    young = last["young"]
    assert young.first_token_at is not None and young.finished_at is not None and young.started_at is not None
    assert len(young.preempted_at) == stepping.engine.stats().preemptions - len(last["old"].preempted_at)
    assert all(young.started_at < at < young.finished_at for at in young.preempted_at)


@pytest.mark.parametrize("steps", [0, 2])
def test_an_aborted_request_is_told_as_far_as_it_came_and_forgotten(steps: int) -> None:
    stepping = Stepping()
    stepping.submit("a", answer=50)
    stepping.run(steps)
    stepping.engine.abort("a")
    (told,) = stepping.engine.timings.take()
    assert told.finished_at == 100 + steps
    assert (told.started_at is None) is (steps == 0)
    stepping.submit("b", is_traced=False)
    assert stepping.run() == []


def test_times_are_delivered_ahead_of_the_delta_that_ends_the_request() -> None:
    stepping, delivered = Stepping(run_ahead=1), list[Delta | Rejected | Timing]()
    loop = EngineLoop(stepping.engine, delivered.extend, lambda: None)
    stepping.submit("a", answer=2)
    while stepping.engine.has_work:
        loop._deliver_step(loop._guard(stepping.engine.step))
    kinds = [type(message).__name__ for message in delivered]
    assert kinds == ["Timing", "Delta", "Timing", "Delta"]
