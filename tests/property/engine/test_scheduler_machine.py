"""Whatever is submitted and aborted, in whatever order: pages are conserved and every request ends."""

from collections.abc import Sequence

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pagoda_server.engine.pages import PagePool
from pagoda_server.engine.scheduler import Chunk, Limits
from pagoda_server.engine.step import Engine, Sampled
from pagoda_server.wire import Sampling, Submit

PAGE_SIZE, PAGES, BUDGET, SEQS = 4, 9, 10, 4


class FakeRunner:
    """Tokens are a function of the sequence, and memory of what was written where: a page given to two owners shows."""

    def __init__(self) -> None:
        self.slots: dict[tuple[int, int], int] = {}

    def forward(self, chunks: Sequence[Chunk]) -> list[int]:
        assert sum(chunk.num_tokens for chunk in chunks) <= BUDGET and len(chunks) <= SEQS
        for chunk in chunks:
            for position in range(chunk.start, chunk.start + chunk.num_tokens):
                page_id = chunk.request.page_ids[position // PAGE_SIZE]
                self.slots[page_id, position % PAGE_SIZE] = chunk.request.token_ids[position]
        return [self._read(chunk) for chunk in chunks if chunk.samples]

    def sample(self, chunks: Sequence[Chunk], logits: list[int]) -> list[Sampled]:
        return [(token_id, None) for token_id in logits]

    def _read(self, chunk: Chunk) -> int:
        request = chunk.request
        stored = [self.slots[request.page_ids[i // PAGE_SIZE], i % PAGE_SIZE] for i in range(request.num_tokens)]
        assert stored == request.token_ids, "another request wrote to this one's pages"
        return sum(stored) % 3


class SchedulerMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        limits = Limits(max_model_len=64, max_num_seqs=SEQS, max_num_batched_tokens=BUDGET, vocab_size=3)
        self.engine = Engine(FakeRunner(), limits, PagePool(PAGES, PAGE_SIZE))
        self.open: dict[str, int] = {}
        self.count = 0

    @rule(
        prompt=st.lists(st.integers(0, 2), max_size=30),
        repeat=st.booleans(),
        max_tokens=st.integers(0, 14),
        salt=st.sampled_from(["", "tenant"]),
    )
    def submit(self, prompt: list[int], repeat: bool, max_tokens: int, salt: str) -> None:
        self.count += 1
        name = str(self.count)
        prompt = [0, 1, 2, 1] * 3 + prompt if repeat else prompt
        rejection = self.engine.submit(Submit(name, prompt, Sampling(max_tokens=max_tokens), cache_salt=salt))
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
        for delta in self.engine.step():
            self.open[delta.request_id] -= len(delta.token_ids)
            assert (delta.finish_reason == "length") == (self.open[delta.request_id] == 0)
            if delta.finish_reason is not None:
                del self.open[delta.request_id]

    @invariant()
    def pages_are_conserved(self) -> None:
        self.engine.scheduler.check_integrity()
        pool = self.engine.scheduler.pool
        assert pool.num_free + pool.num_cached + pool.num_owned == PAGES

    @invariant()
    def queues_keep_the_order_of_arrival(self) -> None:
        scheduler = self.engine.scheduler
        order = [int(request.request_id) for request in [*scheduler.running, *scheduler.waiting]]
        assert order == sorted(order)

    def teardown(self) -> None:
        steps_left = 50 * (len(self.open) + 1)
        while self.open and steps_left:
            self.step()
            steps_left -= 1
        assert not self.open, "a request never ends"
        assert not self.engine.has_work
        assert self.engine.stats().backlog_tokens == 0
        self.engine.scheduler.check_integrity()


TestSchedulerMachine = SchedulerMachine.TestCase
TestSchedulerMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
