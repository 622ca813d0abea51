"""The sampler: argmax, filters and noise as the reference's, with a seed's draws the same in any batch."""

import pytest
import torch
from torch import Tensor

from pagoda_server.kernels.sampler import LOGPROB, SamplingRows, build_sampler_scratch, sample
from pagoda_server.runtime.sampler import filter_tokens
from pagoda_server.wire import Sampling

VOCAB = 5000
FILTERS = [
    Sampling(max_tokens=1),
    Sampling(max_tokens=1, top_k=1),
    Sampling(max_tokens=1, top_k=20, top_p=0.9),
    Sampling(max_tokens=1, top_k=300),
    Sampling(max_tokens=1, top_p=0.5),
    Sampling(max_tokens=1, top_p=0.001),
    Sampling(max_tokens=1, top_p=0.97, temperature=3.0),
    Sampling(max_tokens=1, min_p=0.05),
    Sampling(max_tokens=1, min_p=0.01, top_k=40, top_p=0.8, temperature=0.6),
    Sampling(max_tokens=1, top_k=VOCAB + 5, top_p=0.7),
]


def describe(sampling: Sampling) -> str:
    return f"k{sampling.top_k}-p{sampling.top_p}-min{sampling.min_p}-t{sampling.temperature}"


def build_rows(samplings: list[Sampling], seeds: list[int], device: torch.device, flags: int = LOGPROB) -> SamplingRows:
    def place(values: list[float] | list[int], dtype: torch.dtype) -> Tensor:
        return torch.tensor(values, dtype=dtype, device=device)

    return SamplingRows(
        temperature=place([sampling.temperature for sampling in samplings], torch.float32),
        top_k=place([sampling.top_k for sampling in samplings], torch.int32),
        top_p=place([sampling.top_p for sampling in samplings], torch.float32),
        min_p=place([sampling.min_p for sampling in samplings], torch.float32),
        seed=place(seeds, torch.int64),
        position=place(list(range(100, 100 + len(seeds))), torch.int32),
        flags=place([flags] * len(seeds), torch.int32),
    )


def draw(logits: Tensor, rows: SamplingRows) -> tuple[list[int], Tensor]:
    tokens = torch.full(logits.shape[:1], -1, dtype=torch.int32, device=logits.device)
    logprobs = torch.full(logits.shape[:1], 9.0, device=logits.device)
    sample(logits, rows, build_sampler_scratch(*logits.shape, logits.device), tokens, logprobs)
    return tokens.tolist(), logprobs


def build_logits(rows: int, device: torch.device) -> Tensor:
    """Peaked, as a model's; no two of a row are equal."""
    ranks = torch.stack([torch.randperm(VOCAB, device=device) for _ in range(rows)]).float()
    return 8.0 - 1.5 * (ranks + 1).log() + ranks * 1e-6


def test_temperature_0_is_argmax_whatever_the_filters(device: torch.device) -> None:
    logits = build_logits(2, device)
    rows = build_rows([Sampling(max_tokens=1, temperature=0.0, top_k=5, top_p=0.5)] * 2, [1, 2], device)
    tokens, logprobs = draw(logits, rows)
    assert tokens == logits.argmax(-1).tolist()
    torch.testing.assert_close(logprobs, torch.log_softmax(logits, -1).max(-1).values, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("sampling", FILTERS[1:], ids=describe)
def test_a_filtered_draw_is_the_unfiltered_one_over_what_the_reference_keeps(
    sampling: Sampling, device: torch.device
) -> None:
    """With the other tokens at -inf from the start, the same seed draws the same token."""
    logits = build_logits(1, device)
    kept = filter_tokens(torch.log_softmax(logits[0] / sampling.temperature, -1), sampling)
    masked = logits.masked_fill(kept[None] == -torch.inf, -torch.inf)
    seeds = list(range(3))
    plain = Sampling(max_tokens=1, temperature=sampling.temperature)
    found, logprobs = draw(logits.repeat(len(seeds), 1), build_rows([sampling] * len(seeds), seeds, device))
    wanted, _ = draw(masked.repeat(len(seeds), 1), build_rows([plain] * len(seeds), seeds, device))
    assert found == wanted
    torch.testing.assert_close(logprobs, torch.log_softmax(logits[0], -1)[found], rtol=1e-5, atol=1e-5)


def test_a_flat_row_that_outgrows_the_list_is_searched_itself(
    monkeypatch: pytest.MonkeyPatch, device: torch.device
) -> None:
    sampling = Sampling(max_tokens=1, top_p=0.6, temperature=2.0)
    logits, rows = build_logits(6, device), build_rows([sampling] * 6, list(range(6)), device)
    listed = draw(logits, rows)[0]
    monkeypatch.setattr("pagoda_server.kernels.sampler.KEPT_CAPACITY", 16)
    assert draw(logits, rows)[0] == listed


def test_a_seed_draws_the_same_alone_and_in_a_batch(device: torch.device) -> None:
    logits = build_logits(4, device)
    samplings = [FILTERS[0], FILTERS[2], FILTERS[4], Sampling(max_tokens=1, temperature=0.0)]
    rows = build_rows(samplings, [11, -5, 2**62, 4], device)
    together, _ = draw(logits, rows)
    for index, token in enumerate(together):
        one = SamplingRows(*(getattr(rows, name)[index : index + 1] for name in SamplingRows.__slots__))
        assert draw(logits[index : index + 1].clone(), one)[0] == [token]


def test_equal_logits_draw_evenly(device: torch.device) -> None:
    """Four tokens of equal logits, 120 draws: a chi-squared of 3 degrees over 21 has a chance of 1 in 10,000."""
    logits = torch.full((120, 64), -torch.inf, device=device)
    logits[:, ::16] = 1.0
    tokens, _ = draw(logits, build_rows([FILTERS[0]] * 120, list(range(120)), device, flags=0))
    counts = torch.bincount(torch.tensor(tokens), minlength=64)
    assert counts[::16].sum() == 120
    assert float(((counts[::16] - 30.0) ** 2 / 30.0).sum()) < 21.0


def test_logprobs_are_written_where_asked(device: torch.device) -> None:
    logits = build_logits(2, device)
    assert draw(logits, build_rows([FILTERS[0]] * 2, [1, 2], device, flags=0))[1].tolist() == [9.0, 9.0]
