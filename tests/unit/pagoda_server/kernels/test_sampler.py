"""The sampler: argmax, filters and noise as the reference's, with a seed's draws the same in any batch."""

from typing import Any

import pytest
import torch
from torch import Tensor

from pagoda_server.kernels.sampler import NO_TOKEN, SamplingTable, build_sampler_scratch, sample
from pagoda_server.kernels.sampler_choose import GREEDY_TEMPERATURE as KERNELS_GREEDY_TEMPERATURE
from pagoda_server.runtime.reference.sampler import filter_tokens
from pagoda_server.wire import GREEDY_TEMPERATURE, Sampling

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


def build_table(samplings: list[Sampling], seeds: list[int], device: torch.device) -> SamplingTable:
    def place(values: list[float] | list[int], dtype: torch.dtype) -> Tensor:
        return torch.tensor(values, dtype=dtype, device=device)

    return SamplingTable(
        temperature=place([sampling.temperature for sampling in samplings], torch.float32),
        top_k=place([sampling.top_k for sampling in samplings], torch.int32),
        top_p=place([sampling.top_p for sampling in samplings], torch.float32),
        min_p=place([sampling.min_p for sampling in samplings], torch.float32),
        seed=place(seeds, torch.int64),
    )


def draw(logits: Tensor, table: SamplingTable, rows: list[int] | None = None) -> list[int]:
    """Logits of the table's `rows`, all if None."""
    where = torch.tensor(range(logits.shape[0]) if rows is None else rows, dtype=torch.int32, device=logits.device)
    tokens = torch.full(logits.shape[:1], 99, dtype=torch.int32, device=logits.device)
    scratch = build_sampler_scratch(logits.shape[0], logits.shape[1], logits.device)
    sample(logits, table, where, 100 + where, scratch, tokens)
    return tokens.tolist()


def build_logits(rows: int, device: torch.device) -> Tensor:
    """Peaked, as a model's; no two of a row are equal."""
    ranks = torch.stack([torch.randperm(VOCAB, device=device) for _ in range(rows)]).float()
    return 8.0 - 1.5 * (ranks + 1).log() + ranks * 1e-6


def test_temperature_0_is_argmax_whatever_the_filters(device: torch.device) -> None:
    logits = build_logits(2, device)
    table = build_table([Sampling(max_tokens=1, temperature=0.0, top_k=5, top_p=0.5)] * 2, [1, 2], device)
    assert draw(logits, table) == logits.argmax(-1).tolist()


@pytest.mark.parametrize("filters", [{}, {"top_k": 5, "top_p": 0.5}], ids=["plain", "filtered"])
def test_a_temperature_near_0_is_argmax_and_never_divides_by_it(filters: dict[str, Any], device: torch.device) -> None:
    temperatures = [1e-46, 1e-40, 1e-38, 1e-20, 9e-6]
    logits = build_logits(len(temperatures), device)
    table = build_table([Sampling(max_tokens=1, temperature=low, **filters) for low in temperatures], [7] * 5, device)
    assert draw(logits, table) == logits.argmax(-1).tolist()


def test_from_the_coldest_temperature_on_a_draw_is_one_of_the_softmax(device: torch.device) -> None:
    """Two tokens as likely as each other, among others far below: a greedy choice would always be the first."""
    logits = torch.zeros((40, 64), device=device)
    logits[:, [3, 60]] = 5.0
    coldest = Sampling(max_tokens=1, temperature=GREEDY_TEMPERATURE, top_p=0.9)
    assert set(draw(logits, build_table([coldest] * 40, list(range(40)), device))) == {3, 60}


@pytest.mark.parametrize("extreme", [{"top_p": 1e-45}, {"min_p": 1e-45}, {"top_p": 0.0}, {"min_p": 1.0}], ids=str)
def test_extreme_filters_choose_a_token(extreme: dict[str, Any], device: torch.device) -> None:
    logits = build_logits(4, device)
    sampling = Sampling(max_tokens=1, temperature=1.0, **extreme)
    tokens = draw(logits, build_table([sampling] * 4, list(range(4)), device))
    assert tokens == logits.argmax(-1).tolist() or "min_p" in extreme and all(0 <= token < VOCAB for token in tokens)


def test_kernels_and_reference_agree_on_what_is_greedy() -> None:
    assert KERNELS_GREEDY_TEMPERATURE.value == GREEDY_TEMPERATURE


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
    found = draw(logits.repeat(len(seeds), 1), build_table([sampling] * len(seeds), seeds, device))
    assert found == draw(masked.repeat(len(seeds), 1), build_table([plain] * len(seeds), seeds, device))


def test_a_flat_row_that_outgrows_the_list_is_searched_itself(
    monkeypatch: pytest.MonkeyPatch, device: torch.device
) -> None:
    sampling = Sampling(max_tokens=1, top_p=0.6, temperature=2.0)
    logits, table = build_logits(6, device), build_table([sampling] * 6, list(range(6)), device)
    listed = draw(logits, table)
    monkeypatch.setattr("pagoda_server.kernels.sampler.KEPT_CAPACITY", 16)
    assert draw(logits, table) == listed


def test_a_seed_draws_the_same_alone_and_in_a_batch(device: torch.device) -> None:
    logits = build_logits(4, device)
    samplings = [FILTERS[0], FILTERS[2], FILTERS[4], Sampling(max_tokens=1, temperature=0.0)]
    table = build_table(samplings, [11, -5, 2**62, 4], device)
    for index, token in enumerate(draw(logits, table)):
        assert draw(logits[index : index + 1].clone(), table, [index]) == [token]


def test_equal_logits_draw_evenly(device: torch.device) -> None:
    """Four tokens of equal logits, 120 draws: a chi-squared of 3 degrees over 21 has a chance of 1 in 10,000."""
    logits = torch.full((120, 64), -torch.inf, device=device)
    logits[:, ::16] = 1.0
    tokens = draw(logits, build_table([FILTERS[0]] * 120, list(range(120)), device))
    counts = torch.bincount(torch.tensor(tokens), minlength=64)
    assert counts[::16].sum() == 120
    assert float(((counts[::16] - 30.0) ** 2 / 30.0).sum()) < 21.0


@pytest.mark.filterwarnings("ignore:All-NaN slice encountered:RuntimeWarning")  # numpy, in the interpreter
@pytest.mark.parametrize("sampling", [Sampling(max_tokens=1, temperature=0.0), FILTERS[0], FILTERS[2]], ids=describe)
@pytest.mark.parametrize("value", [torch.nan, -torch.inf])
def test_logits_without_a_best_choose_no_token(value: float, sampling: Sampling, device: torch.device) -> None:
    logits = build_logits(3, device)
    logits[1] = value
    first, broken, last = draw(logits, build_table([sampling] * 3, [1, 2, 3], device))
    assert broken == NO_TOKEN and first >= 0 and last >= 0


def test_padding_is_for_nobody(device: torch.device) -> None:
    logits = build_logits(2, device)
    table = build_table([FILTERS[0]], [1], device)
    assert draw(logits, table, [0, -1])[0] == draw(logits[:1].clone(), table, [0])[0]
