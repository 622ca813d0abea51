"""One client's thousand sequences keep nobody else waiting: neither another tenant nor a request of the same one."""

from collections import Counter
from collections.abc import Sequence

import pytest

from pagoda_server.engine.batch import Chunk, Limits
from pagoda_server.engine.engine import Engine
from pagoda_server.engine.pages import PagePool
from pagoda_server.engine.scheduler import STEPS_A_TURN, STEPS_OF_TURNOVER
from pagoda_server.engine.turns import TOKENS_A_ROW
from pagoda_server.wire import Sampling, Submit
from tests.doubles.clock import Clock
from tests.doubles.runners import ConstantRunner

ROWS, PAGE_SIZE = 16, 16
MANY = 8 * ROWS
LIMITS = Limits(max_model_len=2200, max_num_seqs=ROWS, max_batched_tokens=128, vocab_size=10)


def check_prompts(chunks: Sequence[Chunk]) -> None:
    for chunk in chunks:
        assert chunk.num_tokens == 1 or chunk.end <= len(chunk.request.token_ids), "a prompt is not known"


class Served:
    """An engine, and what each request got so far."""

    def __init__(self, *, run_ahead: int = 1, pages: int = 4096, max_wait_seconds: float = 60.0) -> None:
        self.clock = Clock(100.0)
        pool = PagePool(pages, PAGE_SIZE)
        runner = ConstantRunner(run_ahead=run_ahead, look=check_prompts)
        self.engine = Engine(runner, LIMITS, pool, clock=self.clock, max_wait_seconds=max_wait_seconds)
        self.tokens: Counter[str] = Counter()
        self.finished: dict[str, str] = {}

    def ask(
        self, name: str, *, tenant: str = "", group: str = "", prompt_tokens: int = 20, max_tokens: int = 2000
    ) -> None:
        sampling = Sampling(max_tokens=max_tokens)
        assert self.engine.submit(Submit(name, [1] * prompt_tokens, sampling, tenant, group=group)) is None

    def ask_many(self, *, max_tokens: int = 2000) -> None:
        """One HTTP request, all of whose sequences come at once; the first are under way."""
        for index in range(MANY):
            self.ask(f"many {index}", tenant="eager", group="many", max_tokens=max_tokens)
        self.step(10)

    def step(self, steps: int = 1) -> None:
        for _ in range(steps):
            for delta in self.engine.step():
                self.tokens[delta.request_id] += len(delta.token_ids)
                if delta.finish_reason is not None:
                    self.finished[delta.request_id] = delta.finish_reason

    def step_until_first_token(self, names: Sequence[str]) -> int:
        steps = 0
        while not all(self.tokens[name] for name in names):
            self.step()
            steps += 1
            assert steps < 10_000
        return steps


@pytest.mark.parametrize("tenant", ["eager", "other"])
@pytest.mark.parametrize("run_ahead", [0, 1])
def test_a_request_beside_a_thousand_sequences_is_answered_within_a_few_steps(run_ahead: int, tenant: str) -> None:
    served = Served(run_ahead=run_ahead)
    served.ask_many()
    served.ask("one", tenant=tenant, max_tokens=30)
    assert served.step_until_first_token(["one"]) <= STEPS_OF_TURNOVER + STEPS_A_TURN + 3
    served.step(35)
    assert served.finished == {"one": "length"}


def test_a_dozen_requests_beside_them_come_one_after_the_other() -> None:
    served = Served()
    served.ask_many()
    for index in range(12):
        served.ask(f"one {index}", tenant="eager")
    most = STEPS_OF_TURNOVER + 12 * STEPS_A_TURN + 3
    assert served.step_until_first_token([f"one {index}" for index in range(12)]) <= most


def test_tenants_share_the_rows_and_stay_at_that() -> None:
    served = Served()
    served.ask_many()
    for index in range(MANY):
        served.ask(f"other {index}", tenant="other")
    served.step(ROWS * STEPS_A_TURN)
    rows = Counter(request.tenant for request in served.engine.scheduler.running)
    assert rows == {"eager": ROWS // 2, "other": ROWS // 2}
    preemptions = served.engine.stats().preemptions
    assert preemptions == ROWS // 2
    served.step(200)
    assert served.engine.stats().preemptions == preemptions, "who has its share takes no more"


def test_who_has_longer_contexts_has_fewer_rows() -> None:
    """A step reads all of each context for each token."""
    served = Served()
    for index in range(MANY):
        served.ask(f"long {index}", tenant="long", prompt_tokens=3 * TOKENS_A_ROW, max_tokens=20)
        served.ask(f"short {index}", tenant="short", max_tokens=20)
    counted = Counter[str]()
    for _ in range(100):
        served.step()
        counted.update(request.tenant for request in served.engine.scheduler.running)
    assert counted.total() > 90 * ROWS
    assert 3 < counted["short"] / counted["long"] < 5, "each of the long ones costs four rows"


def test_streams_of_a_busy_tenant_halt_only_for_a_part_of_what_others_are_due() -> None:
    """Each is an HTTP request of its own, and somebody reads it; the rest comes as they end."""
    served = Served()
    for index in range(ROWS):
        served.ask(f"stream {index}", tenant="busy")
    served.step(10)
    for index in range(ROWS):
        served.ask(f"late {index}", tenant="late")
    served.step(ROWS * STEPS_A_TURN + STEPS_OF_TURNOVER)
    rows = Counter(request.tenant for request in served.engine.scheduler.running)
    assert rows == {"busy": ROWS - ROWS // 8, "late": ROWS // 8}


def test_while_places_come_free_by_themselves_nobody_gives_way() -> None:
    served = Served()
    for index in range(4 * ROWS):
        served.ask(f"short {index}", tenant="busy", max_tokens=3 + index)
    served.step(6)
    for index in range(8):
        served.ask(f"late {index}", tenant="late", max_tokens=4)
    served.step(20)
    assert served.engine.stats().preemptions == 0
    assert sum(name.startswith("late") for name in served.finished) == 8


def test_who_alone_asks_has_all_rows_and_nothing_is_preempted() -> None:
    served = Served()
    served.ask_many()
    served.step(100)
    assert len(served.engine.scheduler.running) == ROWS and served.engine.stats().preemptions == 0


def test_every_sequence_ends_with_all_its_tokens_beside_a_stream_of_others() -> None:
    served = Served()
    served.ask_many(max_tokens=50)
    for index in range(150):
        served.ask(f"one {index}", tenant="eager", max_tokens=20)
        served.step(3)
    served.step(3000)
    assert not served.engine.has_work
    assert set(served.finished.values()) == {"length"} and len(served.finished) == MANY + 150
    assert all(served.tokens[f"many {index}"] == 50 for index in range(MANY))


def test_the_longer_the_contexts_that_give_way_the_rarer_they_do() -> None:
    served = Served()
    for index in range(ROWS):
        served.ask(f"long {index}", tenant="eager", group="many", prompt_tokens=1200, max_tokens=900)
    served.step_until_first_token([f"long {index}" for index in range(ROWS)])
    before = served.engine.stats().preemptions
    for index in range(ROWS):
        served.ask(f"one {index}", tenant="other")
    served.step(100)
    assert served.engine.stats().preemptions - before <= 1 + 100 // (STEPS_A_TURN * 1200 // 128)


def test_pages_are_made_free_for_a_tenant_who_holds_none() -> None:
    served = Served(pages=140)
    for index in range(4):
        served.ask(f"wide {index}", tenant="eager", prompt_tokens=500, max_tokens=60)
    served.step_until_first_token([f"wide {index}" for index in range(4)])
    served.ask("one", tenant="other", prompt_tokens=400, max_tokens=10)
    assert served.step_until_first_token(["one"]) <= STEPS_A_TURN + 8
    served.step(300)
    assert set(served.finished.values()) == {"length"} and len(served.finished) == 5


def test_when_pages_run_out_the_tenant_who_holds_most_gives_way() -> None:
    """Not the latest arrival: who asks little would be put off for ever by who asks much."""
    served = Served(pages=34)
    for index in range(4):
        served.ask(f"much {index}", tenant="eager", prompt_tokens=100, max_tokens=300)
    served.ask("little", tenant="other", prompt_tokens=20, max_tokens=60)
    served.step(75)
    assert served.engine.stats().preemptions > 0 and served.finished == {"little": "length"}


@pytest.mark.parametrize("tenant", ["eager", "other"])
def test_a_long_prompt_leaves_half_of_each_step_to_shorter_ones(tenant: str) -> None:
    served = Served()
    for index in range(5):
        served.ask(f"long {index}", tenant="eager", prompt_tokens=2000, max_tokens=9)
    served.step(3)
    served.ask("short", tenant=tenant, prompt_tokens=60)
    assert served.step_until_first_token(["short"]) <= 3
    assert served.tokens["long 0"] == 0


def test_and_takes_all_of_it_where_nobody_wants_the_other_half() -> None:
    served = Served()
    served.ask("long", prompt_tokens=2000, max_tokens=9)
    assert served.step_until_first_token(["long"]) == 2000 // LIMITS.max_batched_tokens + 2


def test_and_goes_on_beside_ever_more_of_them() -> None:
    served = Served()
    served.ask("long", tenant="eager", prompt_tokens=2000, max_tokens=9)
    for index in range(2 * 2000 // LIMITS.max_batched_tokens + 4):
        for part in range(3):
            served.ask(f"short {index} {part}", tenant=f"{index} {part}", prompt_tokens=100, max_tokens=1)
        served.step()
    assert served.tokens["long"] > 0 and served.engine.stats().waiting > 0


def test_pacing_counts_prompts_in_the_order_in_which_they_will_be_admitted() -> None:
    served = Served(pages=140)
    for index in range(3):
        served.ask(f"wide {index}", tenant="eager", prompt_tokens=1000, max_tokens=100)
    served.ask("small", tenant="other", prompt_tokens=20)
    scheduler = served.engine.scheduler
    assert [request.request_id for request in scheduler.waiting][:2] == ["wide 0", "small"]
    assert scheduler.count_startable() == 3


def test_a_request_without_a_turn_in_time_is_refused_and_says_so() -> None:
    served = Served(max_wait_seconds=5.0)
    for index in range(ROWS):
        served.ask(f"single {index}", tenant="eager")
    served.step(3)
    served.ask("late", tenant="eager")
    served.ask("group", tenant="eager", group="pair")
    served.step(3)
    served.clock.now += 4.9
    assert served.engine.reject_overdue() == []
    served.clock.now += 0.2
    late, pair = served.engine.reject_overdue()
    assert (late.request_id, pair.request_id, late.reason, late.param) == ("late", "group", "overdue", None)
    assert "try again" in late.message
    assert served.engine.stats().waiting == 0 and served.engine.stats().running == ROWS
    assert served.engine.abort("late") is None
    served.engine.scheduler.check_integrity()


def test_what_was_under_way_once_is_never_overdue() -> None:
    """Neither a preempted request, nor the sequences that wait for others of their own HTTP request."""
    served = Served(max_wait_seconds=5.0)
    served.ask_many(max_tokens=50)
    served.ask("one", tenant="other", max_tokens=1000)
    served.step(10)
    assert served.engine.stats().preemptions == 1
    served.clock.now += 100.0
    assert served.engine.reject_overdue() == []
    served.step(1000)
    assert len(served.finished) == MANY + 1


def test_an_id_in_use_anew_has_a_deadline_of_its_own() -> None:
    served = Served(max_wait_seconds=5.0)
    served.ask("again", max_tokens=1)
    served.engine.abort("again")
    for index in range(ROWS):
        served.ask(f"single {index}")
    served.step(3)
    served.clock.now += 4.0
    served.ask("again")
    served.clock.now += 2.0
    assert served.engine.reject_overdue() == []
    served.clock.now += 4.0
    assert [rejected.request_id for rejected in served.engine.reject_overdue()] == ["again"]


def test_what_waits_is_counted_whole() -> None:
    served = Served()
    served.ask_many()
    stats = served.engine.stats()
    assert (stats.running, stats.waiting) == (ROWS, MANY - ROWS)
    assert stats.backlog_tokens == (MANY - ROWS) * (20 + 128)
