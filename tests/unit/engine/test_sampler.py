import pytest
import torch

from pagoda_server.runtime.sampler import Row, apply_penalties, choose_token, draw_gumbel, filter_tokens
from pagoda_server.wire import Sampling


def build_row(
    sampling: Sampling, *, seed: int = 0, prompt: list[int] | None = None, output: list[int] | None = None
) -> Row:
    return Row(sampling, seed, 5, prompt or [], output or [], frozenset({2}))


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
    sampling = Sampling(
        max_tokens=9, presence_penalty=0.5, frequency_penalty=0.25, repetition_penalty=2.0, min_tokens=9
    )
    row = build_row(sampling, prompt=[0], output=[1, 1])
    out = apply_penalties(torch.tensor([4.0, -1.0, 3.0, 1.0]), row)
    assert out.tolist() == [2.0, -2.0 - 2 * 0.25 - 0.5, float("-inf"), 1.0]


def test_samples_follow_the_distribution() -> None:
    probabilities = torch.tensor([0.1, 0.2, 0.7])
    rows = [build_row(Sampling(max_tokens=1), seed=seed) for seed in range(3000)]
    counts = torch.bincount(torch.tensor([choose_token(probabilities.log(), row) for row in rows]), minlength=3)
    assert (counts / 3000).tolist() == pytest.approx(probabilities.tolist(), abs=0.03)


def test_noise_is_keyed_by_seed_and_position() -> None:
    assert torch.equal(draw_gumbel(1, 2, 50), draw_gumbel(1, 2, 50))
    assert not torch.equal(draw_gumbel(1, 2, 50), draw_gumbel(1, 3, 50))
    assert not torch.equal(draw_gumbel(1, 2, 50), draw_gumbel(2, 2, 50))
