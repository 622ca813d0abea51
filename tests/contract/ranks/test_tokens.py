"""A model that is divided over real processes answers as it does in one."""

import statistics
from collections.abc import Callable
from typing import Any

import pytest

from pagoda_server.engine.runner import RunnerBroken
from pagoda_server.model.config import UnsupportedModel
from pagoda_server.start.build import BuiltEngine
from pagoda_server.wire import Sampling, TokenLogprobs

Build = Callable[..., BuiltEngine]
Answers = dict[str, tuple[list[int], list[TokenLogprobs]]]
Answer = Callable[[BuiltEngine, list[Sampling]], Answers]
SAMPLINGS = [
    Sampling(max_tokens=12, temperature=0.0, logprobs=3, ignore_eos=True),
    Sampling(max_tokens=12, temperature=0.9, top_p=0.9, seed=5, logprobs=0, ignore_eos=True),
    Sampling(
        max_tokens=12,
        temperature=0.8,
        top_k=20,
        seed=6,
        presence_penalty=0.6,
        repetition_penalty=1.2,
        logit_bias=((5, 2.0), (9, -3.0)),
    ),
    Sampling(max_tokens=12, temperature=0.0, stop_token_ids=(7, 9), min_tokens=6, bad_words=((11,), (12, 13))),
    Sampling(max_tokens=12),  # the engine draws its seed
]


def tokens_of(answers: Answers, names: str = "0123") -> list[list[int]]:
    return [answers[name][0] for name in names]


def chosen_of(answers: Answers) -> list[float]:
    return [logprobs.chosen for _, of_request in answers.values() for logprobs in of_request]


@pytest.mark.parametrize(
    ("model", "ranks"), [("pagoda-tiny", 2), ("pagoda-tiny", 4), ("llama-biased", 2), ("qwen2-tied", 2), ("qwen3", 2)]
)
def test_tokens_and_log_probabilities_are_those_of_one_rank(
    model: str, ranks: int, build: Build, answer: Answer
) -> None:
    expected = answer(build(model, 1, measure_capacity=False), SAMPLINGS)
    divided = build(model, ranks)
    assert not divided.engine.runner.prepare_next(), "the reference leaves nothing for later"
    found = answer(divided, SAMPLINGS)
    assert tokens_of(found) == tokens_of(expected)
    assert chosen_of(found)[:24] == pytest.approx(chosen_of(expected)[:24], abs=1e-4)
    assert (divided.engine.stats().capacity_tokens_per_second or 0) > 0


def test_preempted_and_shared_pages_are_followed(build: Build, answer: Answer) -> None:
    """So few pages that one of three is put off, and comes back on pages it had left in the prefix cache."""
    crowded = [Sampling(max_tokens=30, temperature=0.0, ignore_eos=True)] * 3
    settings = {"kv_cache_bytes": 7 * 16384, "page_size": 16, "max_model_len": 96, "measure_capacity": False}
    expected = answer(build("qwen3", 1, measure_capacity=False), crowded)
    divided = build("qwen3", 2, **settings)
    assert tokens_of(answer(divided, crowded), "012") == tokens_of(expected, "012")
    assert divided.engine.stats().preemptions > 0
    assert tokens_of(answer(divided, crowded), "012") == tokens_of(expected, "012"), "from the prefix cache"


@pytest.mark.parametrize("kv_cache_dtype", ["auto", "fp8"])
def test_fp8_on_two_ranks_is_as_near_to_float32_as_on_one(kv_cache_dtype: str, build: Build, answer: Answer) -> None:
    """Weights and scales are the same numbers; a rank quantizes its share of a token with a scale of its own."""
    fp8 = {"quantization": "fp8", "kv_cache_dtype": kv_cache_dtype, "measure_capacity": False}
    first_tokens = [Sampling(max_tokens=1, temperature=0.0, logprobs=5)] * 12
    wide = answer(build("pagoda-tiny", 1, measure_capacity=False), first_tokens)
    one, two = (answer(build("pagoda-tiny", ranks, **fp8), first_tokens) for ranks in (1, 2))
    assert 0.0 < mean_distance(wide, two) < 1.5 * mean_distance(wide, one)


def mean_distance(first: Answers, second: Answers) -> float:
    """Between the log-probabilities of the likeliest tokens, where both name them."""
    pairs = [(first[name][1][0].top, dict(second[name][1][0].top)) for name in first]
    return statistics.mean(
        abs(value - others[token]) for top, others in pairs for token, value in top if token in others
    )


def test_all_ranks_have_the_pages_of_one(build: Build) -> None:
    one, two = (build("pagoda-tiny", ranks, measure_capacity=False) for ranks in (1, 2))
    assert one.engine.stats().total_pages == two.engine.stats().total_pages
    assert (one.hello.max_model_len, one.hello.max_num_seqs) == (two.hello.max_model_len, two.hello.max_num_seqs)


def test_heads_that_do_not_divide_are_refused_before_a_process_starts(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pagoda_server.parallel.leader.start_follower", lambda: pytest.fail("a process was started"))
    with pytest.raises(UnsupportedModel, match="tensor_parallel is 3, which does not divide"):
        build("pagoda-tiny", 3)


def test_a_step_that_fails_on_one_rank_breaks_the_runner(build: Build, answer: Answer) -> None:
    """Ranks that are apart would wait for each other for ever."""
    divided = build("qwen3", 2, measure_capacity=False)

    def fail(chunks: object) -> None:
        raise ValueError("this rank alone")

    runner: Any = divided.engine.runner
    runner._runner.launch = fail
    with pytest.raises(RunnerBroken):
        answer(divided, SAMPLINGS)
