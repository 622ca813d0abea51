"""What the runner left for after the start is done while the device rests, and a failure of it costs no answer."""

import itertools
import threading
from collections.abc import Sequence

import pytest

from pagoda_server.engine.batch import Limits
from pagoda_server.engine.engine import Engine
from pagoda_server.engine.loop import EngineLoop
from pagoda_server.engine.pages import PagePool
from pagoda_server.wire import Delta, Rejected, Sampling, Submit, Timing
from tests.doubles.runners import PreparingRunner

LIMITS = Limits(max_model_len=64, max_num_seqs=4, max_batched_tokens=64, vocab_size=3)


class Served:
    """An engine's loop and what it answered."""

    def __init__(self, runner: PreparingRunner) -> None:
        self.tokens: list[int] = []
        self.finished, self.ended = threading.Event(), threading.Event()
        engine = Engine(runner, LIMITS, PagePool(64, 4))
        ten_seconds_a_look = itertools.count(0.0, 10.0).__next__
        self.loop = EngineLoop(engine, self.deliver, self.ended.set, ten_seconds_a_look)

    def deliver(self, messages: Sequence[Delta | Rejected | Timing]) -> None:
        for message in messages:
            assert isinstance(message, Delta)
            self.tokens += message.token_ids
            if message.finish_reason is not None:
                self.finished.set()

    def ask(self, max_tokens: int) -> None:
        self.loop.send(Submit("a", [1], Sampling(max_tokens=max_tokens)))


def test_an_idle_engine_prepares_at_once() -> None:
    runner = PreparingRunner(parts=20)
    served = Served(runner)
    served.loop.start()
    assert runner.prepared.wait(10) and all(runner.idle)
    served.loop.stop()


@pytest.mark.parametrize("fails", [False, True])
def test_a_busy_engine_prepares_between_steps_and_loses_no_token(fails: bool) -> None:
    runner = PreparingRunner(parts=7, fails=fails)
    served = Served(runner)
    served.ask(max_tokens=40)
    served.loop.start()
    assert served.finished.wait(10) and runner.prepared.is_set()
    assert len(served.tokens) == 40 and not all(runner.idle)
    served.loop.stop()
    assert served.loop.failure is None
    assert runner.parts == 0, "nothing is prepared after the last or a failed part"
