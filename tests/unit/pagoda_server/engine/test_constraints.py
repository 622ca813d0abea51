"""When the engine asks for masks, and what of them it changes."""

from collections.abc import Sequence

import pytest

from pagoda_server.engine.batch import Limits
from pagoda_server.engine.constraint import Constraint, Masks
from pagoda_server.engine.engine import Engine
from pagoda_server.engine.pages import PagePool
from pagoda_server.wire import Delta, Sampling, Submit
from tests.doubles.constraints import END, Table, TableConstraint, fill_masks
from tests.doubles.runners import MaskedRunner

EOS = 9
LIMITS = Limits(max_model_len=64, max_num_seqs=4, max_batched_tokens=64, vocab_size=10, eos_token_ids=(EOS,))


def run(table: Table, sampling: Sampling, *, run_ahead: int = 1) -> tuple[list[int], str | None]:
    """An answer's tokens and why it ended."""
    engine = Engine(MaskedRunner(10, run_ahead), LIMITS, PagePool(16, 4), fill_masks=fill_masks)
    assert engine.submit(Submit("a", [1, 2], sampling), TableConstraint(table, (EOS,))) is None
    deltas: list[Delta] = []
    while engine.has_work:
        deltas += engine.step()
    return [token for delta in deltas for token in delta.token_ids], deltas[-1].finish_reason


@pytest.mark.parametrize("run_ahead", [0, 1])
def test_masks_are_asked_for_only_where_a_token_is_chosen_by_them(run_ahead: int) -> None:
    asked: list[int] = []

    def fill(constraints: Sequence[Constraint], masks: Masks) -> None:
        asked.append(len(constraints))
        fill_masks(constraints, masks)

    engine = Engine(MaskedRunner(10, run_ahead), LIMITS, PagePool(16, 4), fill_masks=fill)
    assert engine.submit(Submit("plain", [1], Sampling(max_tokens=6))) is None
    for name in ("a", "b"):
        constraint = TableConstraint({0: {3: 0}}, (EOS,))
        assert engine.submit(Submit(name, [1], Sampling(max_tokens=3)), constraint) is None
    while engine.has_work:
        engine.step()
    assert asked == [2, 2, 2]


def test_an_answer_ends_where_its_constraint_does_whatever_ignore_eos_says() -> None:
    table = {0: {3: 1}, 1: {4: 2}, 2: {EOS: END}}
    assert run(table, Sampling(max_tokens=9, ignore_eos=True)) == ([3, 4, EOS], "stop")


def test_min_tokens_holds_the_end_back_while_something_else_may_come() -> None:
    table = {0: {3: 0, EOS: END}}
    tokens, reason = run(table, Sampling(max_tokens=9, min_tokens=5))
    assert tokens[:5] == [3] * 5 and (tokens[-1] == EOS) == (reason == "stop")


def test_where_only_the_end_may_come_it_comes_before_min_tokens() -> None:
    assert run({0: {3: 1}, 1: {EOS: END}}, Sampling(max_tokens=9, min_tokens=5)) == ([3, EOS], "stop")


@pytest.mark.parametrize("run_ahead", [0, 1])
def test_a_constraint_that_fails_ends_its_request_alone_and_says_why(run_ahead: int) -> None:
    engine = Engine(MaskedRunner(10, run_ahead), LIMITS, PagePool(16, 4), fill_masks=fill_masks)
    table = {0: {3: 0}}
    for name, limit in (("broken", 2), ("whole", None)):
        constraint = TableConstraint(table, (EOS,), limit=limit)
        assert engine.submit(Submit(name, [1], Sampling(max_tokens=5)), constraint) is None
    deltas: list[Delta] = []
    while engine.has_work:
        deltas += engine.step()
    assert [delta.token_ids for delta in deltas if delta.request_id == "broken"] == [[3], [3]]
    assert [delta.finish_reason for delta in deltas if delta.request_id == "whole"] == [*[None] * 4, "length"]
    (rejection,) = engine.take_rejections()
    assert (rejection.request_id, rejection.message) == (
        "broken",
        "the answer's grammar: the answer needs more than 2 tokens",
    )
    assert engine.take_rejections() == []


class Raising(TableConstraint):
    """Fails as a library does that nobody thought of: in `accept`, or where its mask is filled."""

    def __init__(self, *, fails_in_accept: bool) -> None:
        super().__init__({0: {3: 0}}, (EOS,))
        self.fails_in_accept = fails_in_accept

    @property
    def allowed(self) -> list[int]:
        if not self.fails_in_accept and len(self.accepted) == 2:
            raise RuntimeError("the library fell over")
        return super().allowed

    def accept(self, token_id: int) -> None:
        if self.fails_in_accept and len(self.accepted) == 1:
            raise RuntimeError("the library fell over")
        self.accepted.append(token_id)


@pytest.mark.parametrize("fails_in_accept", [False, True])
@pytest.mark.parametrize("run_ahead", [0, 1])
def test_a_constraint_that_raises_ends_its_request_alone(run_ahead: int, fails_in_accept: bool) -> None:
    engine = Engine(MaskedRunner(10, run_ahead), LIMITS, PagePool(16, 4), fill_masks=fill_masks)
    constraints = {"broken": Raising(fails_in_accept=fails_in_accept), "whole": TableConstraint({0: {3: 0}}, (EOS,))}
    for name, constraint in constraints.items():
        assert engine.submit(Submit(name, [1], Sampling(max_tokens=5)), constraint) is None
    deltas: list[Delta] = []
    while engine.has_work:
        deltas += engine.step()
    engine.scheduler.check_integrity()
    assert [delta.token_ids for delta in deltas if delta.request_id == "whole"] == [[3]] * 5
    assert [delta.token_ids for delta in deltas if delta.request_id == "broken"] == [[3]] * (
        1 if fails_in_accept else 2
    )
    assert [rejection.request_id for rejection in engine.take_rejections()] == ["broken"]
