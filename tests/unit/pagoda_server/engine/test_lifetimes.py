"""What the engine observes of a request's life, once, when it ends."""

from pagoda_server.engine.lifetimes import observe_end
from pagoda_server.engine.request import Request
from pagoda_server.histograms import ENGINE_HISTOGRAMS, Observed
from pagoda_server.wire import Sampling, Submit
from tests.unit.pagoda_server.conftest import BuildEngine, Generate

TIMES = ("request_queue_time_seconds", "request_prefill_time_seconds", "request_decode_time_seconds")


def build_request(**more: float) -> Request:
    tokens = list(range(24))
    sampling = Sampling(max_tokens=9)
    made = Request(request_id="r", token_ids=tokens, num_prompt_tokens=20, sampling=sampling, seed=1)
    made.submitted_at = 100.0
    for name, value in more.items():
        setattr(made, name, value)
    return made


def observe(request: Request, now: float) -> dict[str, tuple[int, float]]:
    """Returns how often each histogram was observed, and the sum."""
    observed = Observed()
    observe_end(observed, request, now)
    return {name: (sum(found.counts), found.total) for name, found in observed.snapshot().items() if sum(found.counts)}


def test_queue_prefill_and_decode_add_up_to_the_requests_life() -> None:
    seen = observe(build_request(started_at=103.0, first_token_at=104.0), 110.0)
    assert [seen[name] for name in TIMES] == [(1, 3.0), (1, 1.0), (1, 6.0)]
    assert seen["request_time_per_output_token_seconds"] == (1, 2.0), "6 s for the three tokens after the first"


def test_lengths_are_those_of_the_prompt_its_computed_part_and_the_answer() -> None:
    seen = observe(build_request(started_at=100.0, first_token_at=101.0, num_cached_tokens=16), 102.0)
    lengths = ("request_prompt_tokens", "request_prefill_kv_computed_tokens", "request_generation_tokens")
    assert [seen[name][1] for name in lengths] == [20, 4, 4]


def test_a_request_that_ended_before_its_first_step_or_token_has_no_times_of_what_never_was() -> None:
    assert observe(build_request(), 110.0) == {}
    seen = observe(build_request(started_at=103.0), 110.0)
    assert seen["request_queue_time_seconds"] == (1, 3.0)
    assert not {*TIMES[1:], "request_time_per_output_token_seconds"} & seen.keys()


def test_each_request_and_each_token_is_observed_once_however_it_was_scheduled(
    build_engine: BuildEngine, generate: Generate
) -> None:
    prompts = [list(range(1, 1 + length)) for length in (3, 12, 20, 17, 9)]
    engine = build_engine(pages=14)
    answers = generate(engine, prompts, Sampling(max_tokens=20, temperature=0.0))
    stats = engine.stats()
    assert stats.preemptions > 0, "a preempted request is observed once, too"
    counts = {name: sum(found.counts) for name, found in stats.distributions.items()}
    assert {counts[one.name] for one in ENGINE_HISTOGRAMS if one.name.startswith("request_")} == {len(prompts)}
    assert stats.distributions["request_generation_tokens"].total == sum(map(len, answers))
    assert stats.distributions["request_prompt_tokens"].total == sum(map(len, prompts))
    steps = stats.distributions["iteration_tokens_total"]
    assert sum(steps.counts) == stats.steps
    assert steps.total == stats.generation_tokens + stats.prompt_tokens - stats.cached_prompt_tokens


def test_a_request_that_is_aborted_while_it_waits_is_not_observed(build_engine: BuildEngine) -> None:
    engine = build_engine()
    engine.submit(Submit("r", [1, 2, 3], Sampling(max_tokens=4)))
    engine.abort("r")
    assert not any(sum(found.counts) for found in engine.stats().distributions.values())
