"""Laws of the tokens: scheduling, caching and batching never change them."""

import random

import pytest
import torch

from pagoda_server.wire import Sampling, Submit
from tests.unit.pagoda_server.conftest import BuildEngine, Generate, Models

GREEDY = Sampling(max_tokens=20, temperature=0.0)
SEEDED = Sampling(max_tokens=20, temperature=1.1, top_p=0.95, top_k=60, seed=11)


def build_prompts(count: int, *, seed: int = 3, longest: int = 30) -> list[list[int]]:
    rng = random.Random(seed)
    return [[rng.randrange(199) for _ in range(rng.randint(1, longest))] for _ in range(count)]


@pytest.mark.parametrize("family", ["llama", "llama3-rope-tied", "mistral", "qwen2", "qwen3"])
def test_greedy_tokens_equal_those_of_transformers(
    family: str, models: Models, build_engine: BuildEngine, generate: Generate
) -> None:
    prompts = [*build_prompts(3), [5, 9, 2] * 20]
    expected = []
    for prompt in prompts:
        ids = torch.tensor([prompt])
        output = models[family][1].generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=20, eos_token_id=None
        )
        expected.append(output[0, len(prompt) :].tolist())
    assert generate(build_engine(family, budget=17), prompts, GREEDY) == expected
    assert len({token for tokens in expected for token in tokens}) > 10, "the model must say more than one thing"


@pytest.mark.parametrize("sampling", [GREEDY, SEEDED], ids=["greedy", "seeded"])
def test_batched_tokens_equal_those_alone(sampling: Sampling, build_engine: BuildEngine, generate: Generate) -> None:
    prompts = build_prompts(6)
    alone = [generate(build_engine(), [prompt], sampling)[0] for prompt in prompts]
    assert generate(build_engine(), prompts, sampling) == alone


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("sampling", [GREEDY, SEEDED], ids=["greedy", "seeded"])
def test_preempted_request_keeps_its_tokens(
    cache: bool, sampling: Sampling, build_engine: BuildEngine, generate: Generate
) -> None:
    prompts = build_prompts(5, longest=20)
    tight = build_engine(pages=14, cache=cache)
    assert generate(tight, prompts, sampling) == generate(build_engine(), prompts, sampling)
    assert tight.stats().preemptions > 0


def test_prefix_hit_never_changes_tokens(build_engine: BuildEngine, generate: Generate) -> None:
    shared = build_prompts(1, longest=30)[0] + list(range(40))
    prompts = [shared, shared, [*shared, 7], [*shared[:-3], 1, 2]]
    engine = build_engine()
    cold = [generate(build_engine(cache=False), [prompt], GREEDY)[0] for prompt in prompts]
    assert [generate(engine, [prompt], GREEDY)[0] for prompt in prompts] == cold
    assert engine.stats().cached_prompt_tokens > 3 * 30


def test_prefix_is_not_shared_between_salts(build_engine: BuildEngine) -> None:
    engine, prompt = build_engine(), list(range(40))
    cached = {}
    for index, salt in enumerate(["a", "b", "a"]):
        engine.submit(Submit(str(index), prompt, Sampling(max_tokens=1, temperature=0.0), cache_salt=salt))
        cached[index] = engine.step()[0].cached_tokens
    assert cached == {0: 0, 1: 0, 2: 36}, "and a hit leaves at least one prompt token to compute"


@pytest.mark.parametrize(("length", "cached", "again"), [(40, 36, 4), (41, 40, 0), (39, 36, 0)])
def test_a_prompt_that_is_cached_as_a_whole_is_computed_from_its_last_page_on(
    build_engine: BuildEngine, length: int, cached: int, again: int
) -> None:
    engine, prompt = build_engine(), list(range(length))
    for name in ("a", "b"):
        engine.submit(Submit(name, prompt, Sampling(max_tokens=1, temperature=0.0)))
        found = engine.step()[0].cached_tokens
    assert (found, engine.stats().recomputed_prompt_tokens) == (cached, again)


def test_within_a_tenant_a_prefix_is_shared_by_requests_of_one_salt(build_engine: BuildEngine) -> None:
    engine, prompt = build_engine(), list(range(40))
    cached = []
    for index, (tenant, salt) in enumerate([("a", ""), ("a", "x"), ("ax", ""), ("a", "x"), ("", "ax")]):
        sampling = Sampling(max_tokens=1, temperature=0.0)
        engine.submit(Submit(str(index), prompt, sampling, cache_salt=tenant, prefix_salt=salt))
        cached.append(engine.step()[0].cached_tokens)
    assert cached == [0, 0, 0, 36, 0]


def test_seeds_differ_and_repeat(build_engine: BuildEngine, generate: Generate) -> None:
    prompt = [[4, 5, 6]]
    runs = [generate(build_engine(), prompt, Sampling(max_tokens=12, temperature=1.5, seed=seed)) for seed in (1, 2, 1)]
    assert runs[0] == runs[2] != runs[1]


def test_stop_token_ends_the_answer_and_is_among_its_tokens(build_engine: BuildEngine, generate: Generate) -> None:
    prompt = [[8, 9, 10]]
    free = generate(build_engine(), prompt, GREEDY)[0]
    stop = free[5]
    stopped = generate(build_engine(), prompt, Sampling(max_tokens=20, temperature=0.0, stop_token_ids=(stop,)))[0]
    assert stopped == free[: free.index(stop) + 1]
    held = Sampling(max_tokens=20, temperature=0.0, stop_token_ids=(stop,), min_tokens=10)
    assert stop not in generate(build_engine(), prompt, held)[0][:10]


def test_logprobs_are_the_models_own(models: Models, build_engine: BuildEngine) -> None:
    engine, prompt = build_engine("qwen3"), [3, 1, 4, 1, 5]
    engine.submit(Submit("a", prompt, Sampling(max_tokens=1, temperature=0.0, logprobs=3, frequency_penalty=1.0)))
    [logprobs] = engine.step()[0].logprobs or []
    with torch.no_grad():
        expected = torch.log_softmax(models["qwen3"][1](torch.tensor([prompt])).logits[0, -1], -1).topk(3)
    assert [token for token, _ in logprobs.top] == expected.indices.tolist()
    assert [value for _, value in logprobs.top] == pytest.approx(expected.values.tolist(), abs=1e-3)
    assert logprobs.chosen == logprobs.top[0][1]
