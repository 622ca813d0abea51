"""A step that fails ends what it may have touched, and costs no other request a token."""

import threading
from collections.abc import Sequence

import pytest

from pagoda_server.engine.batch import Limits
from pagoda_server.engine.constraint import Constraint
from pagoda_server.engine.engine import Engine
from pagoda_server.engine.loop import EngineLoop
from pagoda_server.engine.pages import PagePool
from pagoda_server.engine.prefix import PrefixCache
from pagoda_server.engine.request import Request
from pagoda_server.engine.scheduler import Scheduler
from pagoda_server.wire import Delta, Rejected, Sampling, Submit, Timing
from tests.doubles.runners import FailingRunner

PAGE_SIZE = 16
LIMITS = Limits(max_model_len=1000, max_num_seqs=4, max_batched_tokens=512, vocab_size=100)


def run_loop(engine: Engine, steps: int) -> list[Delta]:
    deltas: list[Delta] = []
    loop = EngineLoop(engine, lambda _: None, lambda: None)
    for _ in range(steps):
        if engine.has_work:
            deltas += loop._guard(engine.step)
    return deltas


def reasons_of(deltas: list[Delta]) -> dict[str, str]:
    return {delta.request_id: delta.finish_reason for delta in deltas if delta.finish_reason is not None}


@pytest.mark.parametrize("failing_step", [1, 2, 3, 4])
def test_one_that_was_preempted_with_a_token_in_flight_begins_anew(failing_step: int) -> None:
    runner = FailingRunner(failing_step)
    engine = Engine(runner, LIMITS, PagePool(8, PAGE_SIZE), prefix_caching=False)
    for name, length in (("a", 63), ("b", 62)):
        assert engine.submit(Submit(name, [1] * length, Sampling(max_tokens=60))) is None
    deltas = run_loop(engine, 400)
    assert not engine.has_work and not runner.unknown_tokens
    reasons = reasons_of(deltas)
    assert reasons.keys() == {"a", "b"} and "error" in reasons.values()
    for name in [name for name, reason in reasons.items() if reason == "length"]:
        assert sum(len(delta.token_ids) for delta in deltas if delta.request_id == name) == 60


def test_what_was_committed_before_the_failure_reaches_its_clients() -> None:
    engine = Engine(FailingRunner(3), LIMITS, PagePool(80, PAGE_SIZE))
    assert engine.submit(Submit("ends", [1] * 9, Sampling(max_tokens=2))) is None
    deltas = run_loop(engine, 2)
    assert engine.submit(Submit("fails", [1] * 9, Sampling(max_tokens=2, presence_penalty=1.0))) is None
    deltas += run_loop(engine, 6)
    assert reasons_of(deltas) == {"ends": "length", "fails": "error"}


def build_request(name: str, token_ids: list[int]) -> Request:
    return Request(
        request_id=name,
        token_ids=token_ids,
        num_prompt_tokens=len(token_ids),
        sampling=Sampling(max_tokens=5),
        seed=0,
    )


def test_pages_computed_from_a_forgotten_one_are_forgotten_too() -> None:
    pool = PagePool(20, 4)
    prefix = PrefixCache(pool)
    scheduler = Scheduler(Limits(100, 4, 64, 100), pool, prefix)

    def run(request: Request) -> Request:
        scheduler.add(request)
        for chunk in scheduler.schedule():
            chunk.request.num_computed_tokens = chunk.end
            prefix.register(chunk.request, chunk.end)
        return request

    tokens = [1, 2, 3, 4, 5, 6, 7, 8, 9]
    first = run(build_request("first", tokens))
    scheduler.finish(first, "stop")
    broken = run(build_request("broken", [*tokens[:4], 50]))
    prefix.forget(broken)
    scheduler.finish(broken, "error")
    scheduler.check_integrity()
    run(build_request("anew", [*tokens[:4], 60]))
    assert len(prefix.match(build_request("last", tokens)).page_ids) == 1


def test_a_waiting_request_without_pages_could_not_be_started() -> None:
    scheduler = Scheduler(LIMITS, pool := PagePool(10, PAGE_SIZE), PrefixCache(pool))
    for name in "abc":
        scheduler.add(build_request(name, [1] * 60))
    assert scheduler.count_startable() == 2
    scheduler.schedule(max_prompt_tokens=20)
    assert len(scheduler.running) == 1 and scheduler.count_startable() == 1


def test_a_request_that_cannot_be_taken_up_ends_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(FailingRunner(0), LIMITS, PagePool(80, PAGE_SIZE))
    heard: list[Delta | Rejected | Timing] = []
    ended = threading.Event()
    loop = EngineLoop(engine, heard.extend, ended.set)
    submit = engine.submit

    def fail_for_one(request: Submit, constraint: Constraint | None = None) -> Rejected | None:
        if request.request_id == "broken":
            raise OverflowError("a number that nobody thought of")
        return submit(request, constraint)

    monkeypatch.setattr(engine, "submit", fail_for_one)
    for name in ("broken", "whole"):
        loop.send(Submit(name, [1], Sampling(max_tokens=3)))
    loop.start()
    while loop.stats.generation_tokens < 3 and not ended.is_set():
        pass
    loop.stop()
    assert loop.failure is None
    assert reasons_of([delta for delta in heard if isinstance(delta, Delta)]) == {"broken": "error", "whole": "length"}


def test_an_end_of_the_thread_is_never_silent() -> None:
    """Whatever it is: here nobody can be told what a step gave."""
    engine, ended = Engine(FailingRunner(0), LIMITS, PagePool(80, PAGE_SIZE)), threading.Event()

    def fail(messages: Sequence[Delta | Rejected | Timing]) -> None:
        if messages:
            raise RuntimeError("the socket's thread is gone")

    loop = EngineLoop(engine, fail, ended.set)
    loop.send(Submit("a", [1], Sampling(max_tokens=3)))
    loop.start()
    assert ended.wait(10) and isinstance(loop.failure, RuntimeError)


def test_prompts_are_taken_up_a_part_at_a_time_while_answers_are_streamed() -> None:
    """A thousand sequences that come at once do not hold up the next step."""
    engine = Engine(FailingRunner(0), LIMITS, PagePool(800, PAGE_SIZE))
    loop = EngineLoop(engine, lambda _: None, lambda: None)
    for index in range(1000):
        loop.send(Submit(str(index), [1] * 900, Sampling(max_tokens=3)))
    assert loop._take_commands() and 0 < engine.stats().waiting < 100
    while engine.stats().waiting < 1000:
        assert loop._take_commands()
