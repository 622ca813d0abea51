"""Log-probabilities: the reference's, of the given token and of the likeliest in their order."""

import pytest
import torch
from torch import Tensor

from pagoda_server.kernels.logprobs import MAX_TOP, WIDTH, build_logprobs_scratch, rank_logprobs
from pagoda_server.runtime.reference.sampler import compute_logprobs
from pagoda_server.wire import MAX_LOGPROBS


def rank(logits: Tensor, places: list[int], tokens: list[int], num_top: int) -> Tensor:
    """[M, WIDTH], -7 where nothing was written."""
    device = logits.device
    out = torch.full((len(places), WIDTH), -7, dtype=torch.int32, device=device)
    rank_logprobs(
        logits,
        torch.tensor(places, dtype=torch.int32, device=device),
        torch.tensor(tokens, dtype=torch.int32, device=device),
        num_top,
        build_logprobs_scratch(len(places), logits.shape[1], device),
        out,
    )
    return out.cpu()


@pytest.mark.parametrize("vocab", [7, 199, 9001])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("num_top", [0, 1, 5, MAX_TOP])
def test_they_are_the_references(vocab: int, dtype: torch.dtype, num_top: int, device: torch.device) -> None:
    """In 16 bits many logits are equal."""
    logits, num_top = (3 * torch.randn((4, vocab), device=device)).to(dtype), min(num_top, vocab)
    tokens = [vocab - 1, 0, 3, -1]
    out = rank(logits, [2, 0, 3], tokens, num_top)
    for row, place in zip(out, [2, 0, 3], strict=True):
        expected = compute_logprobs(logits[place].float().cpu(), max(0, tokens[place]), num_top)
        assert float(row[:1].view(torch.float32)) == pytest.approx(expected.chosen, abs=1e-4)
        found = row[1 + MAX_TOP : 1 + MAX_TOP + num_top].view(torch.float32)
        assert found.tolist() == pytest.approx([value for _, value in expected.top], abs=1e-4)
        ids = row[1 : 1 + num_top].tolist()
        best = sorted(range(vocab), key=lambda token: (-float(logits[place, token]), token))
        assert ids == best[:num_top]
        assert bool((row[1 + num_top : 1 + MAX_TOP] == -7).all()), "nothing else is written"


def test_the_likeliest_may_lie_in_one_span_or_in_as_many_as_they_are(device: torch.device) -> None:
    logits = torch.zeros((2, 9000), device=device)
    near, far = list(range(130, 130 + MAX_TOP)), list(range(50, 9000, 440))[:MAX_TOP]
    for row, tokens in enumerate((near, far)):
        logits[row, tokens] = torch.arange(MAX_TOP, 0, -1, device=device).float()
    out = rank(logits, [0, 1], [0, 0], MAX_TOP)
    assert [row[1 : 1 + MAX_TOP].tolist() for row in out] == [near, far]


@pytest.mark.filterwarnings("ignore:All-NaN slice encountered:RuntimeWarning")  # numpy, in the interpreter
@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:divide by zero encountered:RuntimeWarning")
@pytest.mark.parametrize("value", [torch.nan, -torch.inf])
def test_a_row_without_a_best_spoils_no_other(value: float, device: torch.device) -> None:
    logits = torch.randn((2, 500), device=device)
    logits[0] = value
    out = rank(logits, [0, 1], [-1, 4], 3)
    assert bool(((out[0, 1:4] >= 0) & (out[0, 1:4] < 500)).all())
    assert out[1, 1:4].tolist() == logits[1].topk(3).indices.tolist()


def test_kernels_and_wire_agree_on_how_many() -> None:
    assert MAX_TOP == MAX_LOGPROBS
