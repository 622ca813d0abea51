"""A prompt's log-probabilities: the model's own, each token's once, however the prompt was cut, cached or put off."""

import pytest
import torch

from pagoda_server.engine.engine import Engine
from pagoda_server.wire import PromptLogprobs, Sampling, Submit, TokenLogprobs
from tests.unit.pagoda_server.conftest import BuildEngine, Models

SCORED = Sampling(max_tokens=0, prompt_logprobs=3)
PROMPT = [(7 * index * index + 3) % 199 for index in range(37)]
Answer = tuple[list[TokenLogprobs], list[int], str | None]


def run(engine: Engine, prompts: list[list[int]], sampling: Sampling) -> list[Answer]:
    """For each prompt what it was scored with, the answer, and why it ended."""
    scores: list[list[TokenLogprobs]] = [[] for _ in prompts]
    tokens: list[list[int]] = [[] for _ in prompts]
    reasons: list[str | None] = [None] * len(prompts)
    for index, prompt in enumerate(prompts):
        assert engine.submit(Submit(str(index), prompt, sampling)) is None
    while engine.has_work:
        for delta in engine.step():
            index = int(delta.request_id)
            for part in delta.prompt_logprobs or ():
                assert part.start == len(scores[index]) + 1
                scores[index] += part.unpack()
            tokens[index] += delta.token_ids
            reasons[index] = delta.finish_reason
    engine.scheduler.check_integrity()
    return list(zip(scores, tokens, reasons, strict=True))


@pytest.mark.parametrize("budget", [64, 9, 1])
def test_they_are_those_of_transformers_however_the_prompt_is_cut(
    budget: int, models: Models, build_engine: BuildEngine
) -> None:
    ((scores, tokens, reason),) = run(build_engine(budget=budget, seqs=1), [PROMPT], SCORED)
    assert (tokens, reason) == ([], "length")
    with torch.no_grad():
        logprobs = torch.log_softmax(models["llama"][1](torch.tensor([PROMPT])).logits[0], -1)
    assert len(scores) == len(PROMPT) - 1
    for found, token_id, expected in zip(scores, PROMPT[1:], logprobs, strict=False):
        assert found.chosen == pytest.approx(float(expected[token_id]), abs=1e-3)
        assert [token for token, _ in found.top] == expected.topk(3).indices.tolist()


def test_an_answer_follows_and_is_the_one_without_scores(build_engine: BuildEngine) -> None:
    plain = run(build_engine(), [PROMPT], Sampling(max_tokens=5, temperature=0.0))
    scored = run(build_engine(), [PROMPT], Sampling(max_tokens=5, temperature=0.0, prompt_logprobs=0))
    assert scored[0][1:] == plain[0][1:]
    assert len(scored[0][0]) == len(PROMPT) - 1 and not any(one.top for one in scored[0][0])


def test_what_is_cached_is_computed_anew_and_what_is_scored_may_be_cached(build_engine: BuildEngine) -> None:
    engine = build_engine()
    first = run(engine, [PROMPT], SCORED)
    assert run(engine, [PROMPT], SCORED) == first
    assert engine.stats().cached_prompt_tokens == 0
    run(engine, [PROMPT], Sampling(max_tokens=1))
    assert engine.stats().cached_prompt_tokens == 36


def test_preempted_requests_are_told_no_token_twice(build_engine: BuildEngine) -> None:
    prompts = [PROMPT[:20], PROMPT[5:28], PROMPT[3:25]]
    sampling = Sampling(max_tokens=12, temperature=0.0, prompt_logprobs=1)
    tight = build_engine(pages=14, budget=16)
    found, expected = run(tight, prompts, sampling), run(build_engine(), prompts, sampling)
    assert tight.stats().preemptions > 0
    assert [answer[1:] for answer in found] == [answer[1:] for answer in expected]
    for (scores, *_), prompt in zip(found, prompts, strict=True):
        assert len(scores) == len(prompt) - 1


def test_a_part_can_be_cut_anywhere() -> None:
    def part(start: int, end: int) -> PromptLogprobs:
        rows = torch.arange(start, end, dtype=torch.float32)
        ids = torch.arange(2 * start, 2 * end, dtype=torch.int32)
        return PromptLogprobs(start, rows.numpy().tobytes(), ids.numpy().tobytes(), ids.float().numpy().tobytes())

    assert part(3, 9).end == 9
    assert part(3, 9).after(3) == part(3, 9)
    assert part(3, 9).after(7) == part(7, 9)
    seventh, eighth = [(14, 14.0), (15, 15.0)], [(16, 16.0), (17, 17.0)]
    assert part(7, 9).unpack() == [TokenLogprobs(7.0, seventh), TokenLogprobs(8.0, eighth)]
