from typing import Any

import numpy as np
import pytest
import torch

from pagoda_server.engine.runner import NOTHING_ALLOWED
from pagoda_server.runtime.reference.sampler import (
    SamplingRow,
    apply_penalties,
    choose_token,
    draw_gumbel,
    filter_tokens,
    forbid_tokens,
    sample_rows,
)
from pagoda_server.wire import GREEDY_TEMPERATURE, Sampling


def build_row(
    sampling: Sampling,
    *,
    seed: int = 0,
    prompt: list[int] | None = None,
    output: list[int] | None = None,
    held: frozenset[int] = frozenset(),
) -> SamplingRow:
    return SamplingRow(sampling, seed, 5, prompt or [], output or [], held)


def test_a_temperature_near_0_is_greedy_and_never_divides_by_it() -> None:
    logits = torch.tensor([1.0, 30.0, -20.0, 29.9])
    for temperature in (0.0, 5e-324, 1e-46, 1e-40, 1e-38, 1e-20, 9e-6):
        row = build_row(Sampling(max_tokens=1, temperature=temperature, top_p=0.9, top_k=3))
        assert choose_token(logits, row) == 1
    assert choose_token(logits, build_row(Sampling(max_tokens=1, temperature=GREEDY_TEMPERATURE))) == 1


@pytest.mark.parametrize("num_top", [0, 1, 3, 20])
def test_logprobs_are_of_the_chosen_token_and_of_the_likeliest_in_order(num_top: int) -> None:
    logits = torch.tensor([[1.0, 3.0, -2.0, 2.0]])
    row = build_row(Sampling(max_tokens=1, temperature=2.0, seed=1, logprobs=num_top), seed=1)
    ((token_id, found),) = sample_rows(logits, [row])
    expected = torch.log_softmax(logits[0], -1)
    assert found is not None and found.chosen == pytest.approx(float(expected[token_id]))
    assert [token for token, _ in found.top] == [1, 3, 0, 2][:num_top]
    assert [value for _, value in found.top] == pytest.approx(expected.sort(descending=True).values[:num_top].tolist())


def kept(sampling: Sampling, probabilities: list[float]) -> list[int]:
    return torch.isfinite(filter_tokens(torch.tensor(probabilities).log(), sampling)).nonzero().flatten().tolist()


def test_filters_keep_what_their_definition_says() -> None:
    probabilities = [0.1, 0.5, 0.25, 0.15]
    assert kept(Sampling(max_tokens=1, top_k=2), probabilities) == [1, 2]
    assert kept(Sampling(max_tokens=1, top_p=0.7), probabilities) == [1, 2]
    assert kept(Sampling(max_tokens=1, top_p=0.0), probabilities) == [1]
    assert kept(Sampling(max_tokens=1, min_p=0.45), probabilities) == [1, 2]
    assert kept(Sampling(max_tokens=1), probabilities) == [0, 1, 2, 3]


def test_penalties_follow_their_formulas() -> None:
    sampling = Sampling(max_tokens=9, presence_penalty=0.5, frequency_penalty=0.25, repetition_penalty=2.0)
    row = build_row(sampling, prompt=[0], output=[1, 1], held=frozenset({2}))
    out = forbid_tokens(apply_penalties(torch.tensor([4.0, -1.0, 3.0, 1.0]), row), row)
    assert out.tolist() == [2.0, -2.0 - 2 * 0.25 - 0.5, float("-inf"), 1.0]


def test_what_may_not_come_does_not() -> None:
    """By a mask, a list, and sequences that the answer would complete."""
    logits = torch.tensor([4.0, 3.0, 2.0, 1.0, 0.0])

    def choose(mask: int | None = None, output: list[int] | None = None, **asked: Any) -> int:
        row = build_row(Sampling(max_tokens=9, temperature=0.0, **asked), output=output)
        return choose_token(logits, row, None if mask is None else np.array([mask], np.int32))

    assert choose() == 0
    assert choose(logit_bias=((3, 3.5),)) == 3
    assert choose(allowed_token_ids=(2, 3)) == 2
    assert choose(mask=0b11000, allowed_token_ids=(2, 3)) == 3
    assert choose(mask=0b00011, allowed_token_ids=(2, 3)) == NOTHING_ALLOWED
    bad_words = ((0,), (2, 1), (4, 3, 2))
    assert choose(output=[2], bad_words=bad_words) == 2
    assert choose(output=[4, 3], bad_words=bad_words) == 1
    assert choose(output=[3], bad_words=bad_words) == 1


def test_samples_follow_the_distribution() -> None:
    probabilities = torch.tensor([0.1, 0.2, 0.7])
    rows = [build_row(Sampling(max_tokens=1), seed=seed) for seed in range(3000)]
    counts = torch.bincount(torch.tensor([choose_token(probabilities.log(), row) for row in rows]), minlength=3)
    assert (counts / 3000).tolist() == pytest.approx(probabilities.tolist(), abs=0.03)


def test_noise_is_keyed_by_seed_and_position() -> None:
    assert torch.equal(draw_gumbel(1, 2, 50), draw_gumbel(1, 2, 50))
    assert not torch.equal(draw_gumbel(1, 2, 50), draw_gumbel(1, 3, 50))
    assert not torch.equal(draw_gumbel(1, 2, 50), draw_gumbel(2, 2, 50))
