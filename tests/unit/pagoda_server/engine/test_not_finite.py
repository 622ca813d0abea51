"""Numbers that are not finite end the request that has them, and it alone."""

import math
from typing import Any

import pytest

from pagoda_server.engine.engine import Engine
from pagoda_server.wire import Delta, Sampling, Submit
from tests.unit.pagoda_server.conftest import BuildEngine, Generate

SAMPLINGS = [Sampling(max_tokens=12, temperature=0.0), Sampling(max_tokens=12, temperature=0.8, top_p=0.9, seed=3)]
PROMPTS = [list(range(5, 17)), list(range(60, 70))]


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=["greedy", "drawn"])
def test_it_ends_with_an_error_and_its_pages_are_never_matched_again(
    build_engine: BuildEngine, generate: Generate, sampling: Sampling
) -> None:
    expected = generate(build_engine(), PROMPTS, sampling)
    engine = build_engine()
    for index, prompt in enumerate(PROMPTS):
        assert engine.submit(Submit(str(index), prompt, sampling)) is None
    deltas = engine.step()
    broken = next(request for request in engine.scheduler.running if request.request_id == "0")
    runner: Any = engine.runner
    runner.caches[0].k[broken.page_ids[0]] = math.nan
    deltas += run_to_end(engine)
    assert [delta.finish_reason for delta in deltas if delta.request_id == "0"][-1] == "error"
    assert tokens_of(deltas, "1") == expected[1]
    assert engine.scheduler.pool.num_owned == 0
    assert generate(engine, PROMPTS, sampling) == expected


def run_to_end(engine: Engine) -> list[Delta]:
    deltas: list[Delta] = []
    while engine.has_work:
        deltas += engine.step()
        engine.scheduler.pool.check_integrity()
    return deltas


def tokens_of(deltas: list[Delta], request_id: str) -> list[int]:
    return [token for delta in deltas if delta.request_id == request_id for token in delta.token_ids]
