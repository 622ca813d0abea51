"""Whatever is submitted and aborted, in whatever order: pages are conserved and every request ends."""

from collections.abc import Sequence

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pagoda_server.engine.batch import Limits
from pagoda_server.engine.engine import Engine
from pagoda_server.engine.pages import PagePool
from pagoda_server.engine.request import RequestState
from pagoda_server.wire import Delta, Sampling, Submit
from tests.doubles.runners import PageCheckingRunner

PAGE_SIZE, PAGES, BUDGET, SEQS = 4, 9, 10, 4


class SchedulerMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.open: dict[str, int] = {}
        self.count = 0

    @initialize(run_ahead=st.sampled_from([0, 1]), eos=st.booleans())
    def build(self, run_ahead: int, eos: bool) -> None:
        limits = Limits(
            max_model_len=64,
            max_num_seqs=SEQS,
            max_batched_tokens=BUDGET,
            vocab_size=3,
            eos_token_ids=(2,) if eos else (),
        )
        runner = PageCheckingRunner(run_ahead, PAGE_SIZE, max_tokens=BUDGET, max_seqs=SEQS)
        self.engine = Engine(runner, limits, PagePool(PAGES, PAGE_SIZE))

    @rule(
        prompt=st.lists(st.integers(0, 2), max_size=30),
        repeat=st.booleans(),
        max_tokens=st.integers(0, 14),
        salt=st.sampled_from(["", "tenant", "third"]),
        group=st.sampled_from(["", "many", "more"]),
    )
    def submit(self, prompt: list[int], repeat: bool, max_tokens: int, salt: str, group: str) -> None:
        self.count += 1
        name = str(self.count)
        prompt = [0, 1, 2, 1] * 3 + prompt if repeat else prompt
        sampling = Sampling(max_tokens=max_tokens)
        rejection = self.engine.submit(Submit(name, prompt, sampling, cache_salt=salt, group=group))
        fits = bool(prompt) and max_tokens > 0 and len(prompt) + max_tokens - 1 <= PAGES * PAGE_SIZE
        assert (rejection is None) == fits
        if rejection is None:
            self.open[name] = max_tokens

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def abort(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.open)))
        delta = self.engine.abort(name)
        assert delta is not None and delta.finish_reason == "abort"
        assert self.engine.abort(name) is None
        del self.open[name]

    @rule()
    def step(self) -> None:
        oldest = next(iter(self.engine.scheduler.running), None)
        before = 0 if oldest is None else oldest.num_computed_tokens + oldest.num_output_tokens
        self.take(self.engine.step())
        if oldest is not None:
            advanced = oldest.num_computed_tokens + oldest.num_output_tokens > before
            assert advanced or oldest.state is RequestState.FINISHED, "the oldest always advances"

    def take(self, deltas: Sequence[Delta]) -> None:
        for delta in deltas:
            self.open[delta.request_id] -= len(delta.token_ids)
            ended = "length" if self.open[delta.request_id] == 0 else None
            stopped = delta.token_ids[-1] in self.engine.scheduler.limits.eos_token_ids
            assert delta.finish_reason == ("stop" if stopped else ended)
            if delta.finish_reason is not None:
                del self.open[delta.request_id]

    @rule()
    def drain(self) -> None:
        self.take(self.engine.drain())
        self.engine.runner.prepare_next()

    @invariant()
    def pages_are_conserved(self) -> None:
        self.engine.scheduler.check_integrity()
        pool = self.engine.scheduler.pool
        assert pool.num_free + pool.num_cached + pool.num_owned == PAGES

    @invariant()
    def running_requests_are_in_order_of_arrival(self) -> None:
        order = [int(request.request_id) for request in self.engine.scheduler.running]
        assert order == sorted(order)

    @invariant()
    def the_sequences_of_a_group_are_served_in_order_of_arrival(self) -> None:
        """A preempted one keeps its place ahead of those that never ran."""
        scheduler, last = self.engine.scheduler, dict[tuple[str, str], int]()
        for request in [*scheduler.running, *scheduler.waiting]:
            key = request.tenant, request.group
            assert last.get(key, -1) < request.arrival
            last[key] = request.arrival

    def teardown(self) -> None:
        steps_left = 50 * (len(self.open) + 1)
        while hasattr(self, "engine") and self.engine.has_work and steps_left:
            self.step()
            steps_left -= 1
        assert not self.open, "a request never ends"
        assert not self.engine.has_work
        assert self.engine.stats().backlog_tokens == 0
        self.engine.scheduler.check_integrity()


TestSchedulerMachine = SchedulerMachine.TestCase
TestSchedulerMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
