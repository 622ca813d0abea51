"""Fields that speak of tokens, with a real engine behind them: a model of random weights on the CPU."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import torch

from tests.doubles.served import Served, serve_model
from tests.doubles.tiny_models import write_model, write_tokenizer

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
VOCAB_SIZE = 330
PROMPT = [5, 17, 40, 9, 80, 3, 3, 120, 61, 7, 7, 19, 200, 4, 33, 21, 55, 2, 90]
Ask = Callable[..., Awaitable[Any]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    path = tmp_path_factory.mktemp("model")
    write_tokenizer(path)
    return path, write_model(path, vocab_size=VOCAB_SIZE, eos_token_id=0, max_position_embeddings=256)


@pytest.fixture
async def served(folder: tuple[Path, Any]) -> AsyncIterator[Served]:
    async with serve_model(folder[0]) as served:
        yield served


@pytest.fixture
async def ask(served: Served) -> AsyncIterator[Ask]:
    async with aiohttp.ClientSession() as session:

        async def send(path: str = COMPLETIONS, **body: Any) -> Any:
            more = {"prompt": PROMPT} if path == COMPLETIONS else {"messages": [{"role": "user", "content": "Hi"}]}
            asked = {"model": "tiny", "temperature": 0, "max_tokens": 12, **more, **body}
            async with session.post(served.url + path, json=asked) as response:
                answer = await response.json()
                assert response.status == 200, answer
                return answer

        yield send


def compute_logprobs(model: Any, token_ids: list[int]) -> torch.Tensor:
    """Returns what transformers gives: [position, token], of what comes after each position."""
    with torch.no_grad():
        return torch.log_softmax(model(torch.tensor([token_ids])).logits[0].float(), dim=-1)


async def test_the_scores_of_a_prompt_are_the_models_own(ask: Ask, folder: tuple[Path, Any]) -> None:
    expected = compute_logprobs(folder[1], PROMPT)
    answer = await ask(echo=True, logprobs=3, max_tokens=0)
    scores = answer["choices"][0]["logprobs"]
    assert scores["token_logprobs"][0] is None and len(scores["token_logprobs"]) == len(PROMPT)
    told = torch.tensor(scores["token_logprobs"][1:])
    own = expected[torch.arange(len(PROMPT) - 1), torch.tensor(PROMPT[1:])]
    torch.testing.assert_close(told, own, atol=1e-3, rtol=1e-3)
    assert answer["usage"]["completion_tokens"] == 0
    for path, body in ((COMPLETIONS, {}), (CHAT, {"max_tokens": 1})):
        whole = await ask(path, prompt_logprobs=2, return_token_ids=True, **body)
        holder = whole if path == CHAT else whole["choices"][0]
        rows = compute_logprobs(folder[1], holder["prompt_token_ids"])
        for at, entries in enumerate(holder["prompt_logprobs"][1:]):
            likeliest = [int(token_id) for token_id, one in entries.items() if one["rank"] in (1, 2)]
            assert sorted(likeliest) == sorted(rows[at].topk(2).indices.tolist())


async def test_a_scored_prompt_is_scored_again_when_it_is_cached(ask: Ask) -> None:
    first = await ask(echo=True, logprobs=1, max_tokens=1)
    await ask(max_tokens=1)
    again = await ask(echo=True, logprobs=1, max_tokens=1)
    assert again["choices"] == first["choices"]


async def test_the_choice_that_an_evaluator_makes_is_the_models(ask: Ask, folder: tuple[Path, Any]) -> None:
    """As lm-eval does it: of several continuations the one of the highest sum, and whether it is the greedy one."""
    context, endings = PROMPT[:8], [[4, 5, 6], [7, 8], [9, 10, 11, 12]]
    rows = [compute_logprobs(folder[1], context + ending) for ending in endings]
    expected = [
        sum(float(row[len(context) - 1 + at, token_id]) for at, token_id in enumerate(ending))
        for row, ending in zip(rows, endings, strict=True)
    ]
    prompts = [context + ending for ending in endings]
    answer = await ask(prompt=prompts, echo=True, logprobs=1, max_tokens=1)
    sums = [sum(choice["logprobs"]["token_logprobs"][len(context) : -1]) for choice in answer["choices"]]
    assert sums == pytest.approx(expected, abs=1e-2)
    greedy = (await ask(prompt=context, max_tokens=3, return_token_ids=True))["choices"][0]["token_ids"]
    answer = await ask(prompt=context + greedy, echo=True, logprobs=1, max_tokens=1)
    scores = answer["choices"][0]["logprobs"]
    pairs = zip(scores["token_logprobs"][len(context) : -1], scores["top_logprobs"][len(context) : -1], strict=True)
    assert all(own == max(top.values()) for own, top in pairs)


async def test_biases_and_bad_words_change_which_token_comes(served: Served, ask: Ask) -> None:
    free = (await ask(return_token_ids=True))["choices"][0]["token_ids"]
    barred = (await ask(return_token_ids=True, logit_bias={str(free[0]): -100}))["choices"][0]["token_ids"]
    assert barred[0] != free[0]
    forced = (await ask(return_token_ids=True, logit_bias={"77": 100}))["choices"][0]["token_ids"]
    assert forced == [77] * 12
    held = (await ask(return_token_ids=True, allowed_token_ids=[70, 71]))["choices"][0]["token_ids"]
    assert set(held) <= {70, 71}
    tokenizer = served.api.tokenizer
    word = next(text for token_id in free if (text := tokenizer.decode([token_id])) and text.isascii())
    spelled = tuple(tokenizer.encode(word, add_special_tokens=False))
    without = (await ask(return_token_ids=True, bad_words=[word]))["choices"][0]["token_ids"]
    assert spelled in [tuple(free[at : at + len(spelled)]) for at in range(len(free))]
    assert spelled not in [tuple(without[at : at + len(spelled)]) for at in range(len(without))]


async def test_the_best_of_several_has_the_highest_mean(ask: Ask) -> None:
    asked = {"temperature": 1.5, "seed": 3, "logprobs": 0, "max_tokens": 6, "ignore_eos": True}
    every = await ask(n=4, **asked)
    best = await ask(best_of=4, n=1, **asked)
    means = [sum(one["logprobs"]["token_logprobs"]) / 6 for one in every["choices"]]
    winner = every["choices"][means.index(max(means))]
    assert best["choices"][0]["text"] == winner["text"]
    assert best["usage"]["completion_tokens"] == every["usage"]["completion_tokens"] == 24


async def test_a_salt_keeps_a_prompt_from_those_without_it(ask: Ask) -> None:
    async def count_cached(**more: Any) -> int:
        details = (await ask(max_tokens=1, **more))["usage"]["prompt_tokens_details"]
        cached: int = details["cached_tokens"]
        return cached

    assert [await count_cached(), await count_cached(cache_salt="a"), await count_cached()] == [0, 0, 16]
    assert await count_cached(cache_salt="a") == 16
