"""Whatever happens to a constrained request, its constraint has accepted its tokens and no others."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from pagoda_server.engine.batch import Limits
from pagoda_server.engine.engine import Engine
from pagoda_server.engine.loop import EngineLoop
from pagoda_server.engine.pages import PagePool
from pagoda_server.engine.request import Request
from pagoda_server.wire import Delta, Sampling, Submit
from tests.doubles.constraints import END, Table, TableConstraint, fill_masks
from tests.doubles.runners import MaskedRunner

VOCAB, EOS, STATES = 40, 39, 3
LIMITS = Limits(max_model_len=64, max_num_seqs=3, max_batched_tokens=12, vocab_size=VOCAB, eos_token_ids=(EOS,))
NEVER = 10**6
tables = st.fixed_dictionaries(
    {
        state: st.dictionaries(st.integers(0, VOCAB - 2), st.integers(0, STATES - 1), min_size=1, max_size=4).flatmap(
            lambda row: st.sampled_from([row, {**row, EOS: END}])
        )
        for state in range(STATES)
    }
)


@dataclass(frozen=True)
class Asked:
    prompt: list[int]
    sampling: Sampling
    table: Table | None
    limit: int | None
    abort_at: int


asked = st.builds(
    Asked,
    prompt=st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=14),
    sampling=st.builds(
        Sampling,
        max_tokens=st.integers(1, 12),
        min_tokens=st.integers(0, 1),
        stop_token_ids=st.sampled_from([(), (3, 4, 5)]),
        ignore_eos=st.booleans(),
    ),
    table=st.none() | tables,
    limit=st.none() | st.integers(0, 6),
    abort_at=st.integers(1, 20) | st.just(NEVER),
)


@dataclass
class Outcome:
    tokens: list[int] = field(default_factory=list)
    reason: str | None = None
    message: str | None = None


def build_constraint(one: Asked) -> TableConstraint | None:
    return None if one.table is None else TableConstraint(one.table, LIMITS.eos_token_ids, limit=one.limit)


def run(
    requests: list[Asked],
    runner: MaskedRunner,
    pages: int,
    *,
    cache: bool = True,
    aborts: bool = False,
    bears_failure: bool = False,
) -> list[Outcome]:
    engine = Engine(runner, LIMITS, PagePool(pages, 4), prefix_caching=cache, fill_masks=fill_masks)
    loop = EngineLoop(engine, lambda _: None, lambda: None)
    outcomes = [Outcome() for _ in requests]
    constraints = [build_constraint(one) for one in requests]
    for index, one in enumerate(requests):
        assert engine.submit(Submit(str(index), one.prompt, one.sampling), constraints[index]) is None
    step = 0
    while engine.has_work:
        deltas, step = loop._guard(engine.step) if bears_failure else engine.step(), step + 1
        for index, one in enumerate(requests):
            if aborts and step == one.abort_at and (delta := engine.abort(str(index))) is not None:
                deltas.append(delta)
        note(outcomes, deltas)
        for rejection in engine.take_rejections():
            outcomes[int(rejection.request_id)].message = rejection.message
        check_constraints([*engine.scheduler.running, *engine.scheduler.waiting])
    engine.scheduler.check_integrity()
    return outcomes


def note(outcomes: list[Outcome], deltas: list[Delta]) -> None:
    for delta in deltas:
        outcome = outcomes[int(delta.request_id)]
        assert outcome.reason is None
        outcome.tokens += delta.token_ids
        outcome.reason = delta.finish_reason


def check_constraints(requests: list[Request]) -> None:
    for request in requests:
        if isinstance(request.constraint, TableConstraint):
            assert request.constraint.accepted == request.token_ids[request.num_prompt_tokens :]


def check_answer(one: Asked, outcome: Outcome) -> None:
    """The answer is one that its constraint knows, and it ended for a reason that it gives."""
    constraint = build_constraint(one)
    if constraint is None:
        assert outcome.message is None
        return
    for token_id in outcome.tokens:
        constraint.accept(token_id)
    assert constraint.error is None
    stops = {EOS, *one.sampling.stop_token_ids}
    if outcome.reason == "stop":
        assert outcome.tokens[-1] in stops
    assert not stops & set(outcome.tokens[:-1]), "nothing comes after a stop token"
    if outcome.message is not None:
        assert len(outcome.tokens) == one.limit and f"more than {one.limit} tokens" in outcome.message


@given(
    requests=st.lists(asked, min_size=1, max_size=5),
    run_ahead=st.sampled_from([0, 1]),
    pages=st.sampled_from([8, 40]),
    cache=st.booleans(),
    failing_step=st.none() | st.integers(1, 12),
)
def test_a_constraint_keeps_in_step_with_its_request(
    requests: list[Asked], run_ahead: int, pages: int, cache: bool, failing_step: int | None
) -> None:
    runner = MaskedRunner(VOCAB, run_ahead, failing_step=failing_step)
    outcomes = run(requests, runner, pages, cache=cache, aborts=True, bears_failure=failing_step is not None)
    for one, outcome in zip(requests, outcomes, strict=True):
        assert (outcome.reason is None) != (outcome.message is None), "each ends once"
        check_answer(one, outcome)


@given(requests=st.lists(asked, min_size=2, max_size=5), run_ahead=st.sampled_from([0, 1]))
def test_a_constrained_answer_is_the_same_alone_as_among_others(requests: list[Asked], run_ahead: int) -> None:
    together = run(requests, MaskedRunner(VOCAB, run_ahead), 8)
    for one, outcome in zip(requests, together, strict=True):
        assert run([one], MaskedRunner(VOCAB, 0), 40, cache=False) == [outcome]


@given(table=tables, tokens=st.lists(st.integers(0, VOCAB - 1), max_size=12), back=st.integers(0, 12))
def test_what_is_rolled_back_was_never_accepted(table: Table, tokens: list[int], back: int) -> None:
    constraint, kept = TableConstraint(table, (EOS,)), TableConstraint(table, (EOS,))
    allowed: list[int] = []
    for wish in tokens:
        allowed.append(constraint.allowed[wish % len(constraint.allowed)])
        constraint.accept(allowed[-1])
    constraint.accept(VOCAB)
    assert constraint.error
    back = min(back, len(allowed))
    constraint.rollback(back)
    for token_id in allowed[: len(allowed) - back]:
        kept.accept(token_id)
    assert (constraint.allowed, constraint.accepted) == (kept.allowed, kept.accepted)
    assert not constraint.error
