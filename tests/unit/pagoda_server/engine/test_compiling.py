"""A request whose grammar is compiled comes to the engine when that is done, unless it ended before."""

from collections.abc import Sequence

import pytest

from pagoda_server.engine.batch import Limits
from pagoda_server.engine.compiling import judge
from pagoda_server.engine.constraint import Constraint, FailedGrammar, Masks, OnCompiled
from pagoda_server.engine.engine import Engine
from pagoda_server.engine.loop import Command, Disconnect, EngineLoop
from pagoda_server.engine.pages import PagePool
from pagoda_server.wire import Abort, Delta, Grammar, Judge, Judged, Rejected, Sampling, Submit
from tests.doubles.clock import Clock
from tests.doubles.runners import ConstantRunner

LIMITS = Limits(max_model_len=100, max_num_seqs=4, max_batched_tokens=64, vocab_size=100, eos_token_ids=(1,))
GRAMMAR = Grammar("start: /a/", param="guided_grammar")


class Free:
    """A constraint that allows everything."""

    def __init__(self) -> None:
        self.accepted: list[int] = []

    error: str | None = None

    def accept(self, token_id: int) -> None:
        self.accepted.append(token_id)

    def rollback(self, num_tokens: int) -> None:
        del self.accepted[-num_tokens:]


class SlowCompiler:
    """Compiles when the test says so."""

    def __init__(self) -> None:
        self.asked: list[OnCompiled] = []

    def compile(self, grammar: Grammar, on_compiled: OnCompiled) -> None:
        self.asked.append(on_compiled)


def fill(constraints: Sequence[Constraint], masks: Masks) -> None:
    masks.fill(-1)


class Stage:
    """A loop whose commands are applied as they are sent, and what it delivered."""

    def __init__(self) -> None:
        self.clock, self.compiler = Clock(), SlowCompiler()
        self.delivered: list[object] = []
        runner = ConstantRunner(7)
        self.engine = Engine(runner, LIMITS, PagePool(40, 16), max_wait_seconds=60, fill_masks=fill, clock=self.clock)
        self.loop = EngineLoop(
            self.engine, self.delivered.extend, lambda: None, clock=self.clock, compiler=self.compiler
        )
        self._apply()

    def send(self, *commands: Command) -> None:
        for command in commands:
            self.loop.send(command)
        self._apply()

    def compiled(self, result: Constraint | FailedGrammar, at: int = 0) -> None:
        self.compiler.asked[at](result)
        self._apply()

    def overdue(self) -> list[Rejected]:
        return self.loop._take_overdue()

    def run(self) -> None:
        while self.engine.has_work:
            self.loop._deliver_step(self.loop._guard(self.engine.step))

    def _apply(self) -> None:
        self.loop._is_prepared = False  # it does not wait for commands then
        assert self.loop._take_commands()


def submit(name: str = "a", grammar: Grammar | None = GRAMMAR, max_tokens: int = 2) -> Submit:
    return Submit(name, [1, 2, 3], Sampling(max_tokens=max_tokens), grammar=grammar)


def test_a_request_begins_when_its_constraint_is_there() -> None:
    stage, constraint = Stage(), Free()
    stage.send(submit())
    assert not stage.engine.has_work
    stage.compiled(constraint)
    stage.run()
    assert constraint.accepted == [7, 7]
    ends = [one.finish_reason for one in stage.delivered if isinstance(one, Delta)]
    assert ends == [None, "length"]


def test_others_do_not_wait_for_it() -> None:
    stage = Stage()
    stage.send(submit("a"), submit("b", None))
    stage.run()
    assert {one.request_id for one in stage.delivered if isinstance(one, Delta)} == {"b"}


def test_a_grammar_that_cannot_be_compiled_is_refused_with_its_field_and_place() -> None:
    stage = Stage()
    stage.send(submit())
    stage.compiled(FailedGrammar("it is wrong; mend it", "/items"))
    assert stage.delivered == [Rejected("a", "guided_grammar at /items: it is wrong; mend it", "guided_grammar")]
    stage.send(submit("b"))
    stage.compiled(FailedGrammar("too many", is_busy=True), 1)
    assert stage.delivered[1:] == [Rejected("b", "too many", reason="overdue")]


@pytest.mark.parametrize("end", [Abort("1/a"), Disconnect("1/")])
def test_one_that_is_aborted_while_it_is_compiled_never_begins(end: Abort | Disconnect) -> None:
    stage = Stage()
    stage.send(submit("1/a"), end)
    stage.compiled(Free())
    assert not stage.engine.has_work
    aborted = [Delta("1/a", [], finish_reason="abort")] if isinstance(end, Abort) else []
    assert stage.delivered == aborted


def test_one_that_takes_its_name_is_not_taken_for_it() -> None:
    stage, first, second = Stage(), Free(), Free()
    stage.send(submit(), Abort("a"), submit())
    stage.compiled(first, 0)
    assert not stage.engine.has_work
    stage.compiled(second, 1)
    stage.run()
    assert (first.accepted, second.accepted) == ([], [7, 7])


def test_two_requests_cannot_have_one_name_while_one_is_compiled() -> None:
    stage = Stage()
    stage.send(submit(), submit(), submit(grammar=None))
    assert [type(one) for one in stage.delivered] == [Rejected, Rejected]
    stage.compiled(Free())
    stage.run()
    assert isinstance(stage.delivered[-1], Delta)


def test_one_that_is_compiled_for_too_long_is_refused() -> None:
    stage = Stage()
    stage.send(submit("a"))
    stage.clock.now += 30
    stage.send(submit("b"))
    stage.clock.now += 30
    assert [(one.request_id, one.reason) for one in stage.overdue()] == [("a", "overdue")]
    stage.compiled(Free(), 0)
    assert not stage.engine.has_work
    stage.compiled(Free(), 1)
    assert stage.engine.has_work


def test_what_the_engine_refuses_it_still_refuses() -> None:
    stage = Stage()
    stage.send(submit(max_tokens=1000))
    stage.compiled(Free())
    [rejected] = stage.delivered
    assert isinstance(rejected, Rejected) and rejected.param == "max_tokens"


def test_an_answer_whose_grammar_fails_on_the_way_ends_alone() -> None:
    stage, failing, going = Stage(), Free(), Free()
    stage.send(submit("a", max_tokens=9), submit("b", max_tokens=9))
    stage.compiled(failing, 0)
    stage.compiled(going, 1)
    stage.loop._deliver_step(stage.engine.step())
    failing.error = "it met a limit"
    stage.run()
    [rejected] = [one for one in stage.delivered if isinstance(one, Rejected)]
    assert (rejected.request_id, rejected.reason) == ("a", "unfinished") and "it met a limit" in rejected.message
    assert len(going.accepted) == 9


def test_a_grammar_is_judged_without_a_request() -> None:
    stage, judged = Stage(), list[Judged]()
    judge(stage.compiler, Judge("q", GRAMMAR), judged.append)
    stage.compiler.asked[0](FailedGrammar("it is wrong"))
    judge(None, Judge("r", GRAMMAR), judged.append)
    assert [one.rejected is not None and one.rejected.param for one in judged] == ["guided_grammar"] * 2
    judge(stage.compiler, Judge("s", GRAMMAR), judged.append)
    stage.compiler.asked[1](Free())
    assert judged[-1] == Judged("s")
