"""The sampler on a GPU at a real vocabulary: it keeps what the reference keeps and draws by the softmax."""

import pytest
import torch
from torch import Tensor

if not torch.cuda.is_available():  # before the kernels load: they would, without the interpreter the unit tests need
    pytest.skip("needs a CUDA GPU", allow_module_level=True)

from pagoda_server.kernels.sampler import LOGPROB, SamplingRows, build_sampler_scratch, sample
from pagoda_server.runtime.sampler import filter_tokens
from pagoda_server.wire import Sampling

pytestmark = pytest.mark.gpu
DEVICE = torch.device("cuda")
BF16 = torch.bfloat16
VOCAB = 151_936


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def build_rows(samplings: list[Sampling], first_seed: int = 0, flags: int = LOGPROB) -> SamplingRows:
    def place(values: list[float] | list[int], dtype: torch.dtype) -> Tensor:
        return torch.tensor(values, dtype=dtype, device=DEVICE)

    return SamplingRows(
        temperature=place([one.temperature for one in samplings], torch.float32),
        top_k=place([one.top_k for one in samplings], torch.int32),
        top_p=place([one.top_p for one in samplings], torch.float32),
        min_p=place([one.min_p for one in samplings], torch.float32),
        seed=torch.arange(first_seed, first_seed + len(samplings), dtype=torch.int64, device=DEVICE) * 7919,
        position=torch.arange(len(samplings), dtype=torch.int32, device=DEVICE) % 1000,
        flags=place([flags] * len(samplings), torch.int32),
    )


def draw(logits: Tensor, rows: SamplingRows) -> tuple[Tensor, Tensor]:
    tokens = torch.full(logits.shape[:1], -1, dtype=torch.int32, device=DEVICE)
    logprobs = torch.full(logits.shape[:1], torch.nan, device=DEVICE)
    sample(logits, rows, build_sampler_scratch(*logits.shape, DEVICE), tokens, logprobs)
    return tokens.long(), logprobs


FILTERS = [
    Sampling(max_tokens=1),
    Sampling(max_tokens=1, top_k=1),
    Sampling(max_tokens=1, top_k=20, top_p=0.95, temperature=0.6),
    Sampling(max_tokens=1, top_k=1000),
    Sampling(max_tokens=1, top_k=20_000),
    Sampling(max_tokens=1, top_p=0.9),
    Sampling(max_tokens=1, top_p=0.999, temperature=5.0),
    Sampling(max_tokens=1, min_p=0.05),
    Sampling(max_tokens=1, min_p=0.001, top_k=500, top_p=0.8, temperature=1.5),
    Sampling(max_tokens=1, temperature=0.0, top_k=3),
]


@pytest.mark.parametrize("dtype", [BF16, torch.float32])
def test_sampler_draws_only_what_the_reference_keeps(dtype: torch.dtype) -> None:
    """Of equal logits the reference's sort keeps some and the kernel all: those count as kept."""
    samplings = FILTERS * 25
    logits = (torch.randn((len(samplings), VOCAB), device=DEVICE) * 3).to(dtype)
    tokens, logprobs = draw(logits, build_rows(samplings))
    for row, (sampling, token) in enumerate(zip(samplings, tokens.tolist(), strict=True)):
        wide = logits[row].float()
        least = wide.max()
        if sampling.temperature > 0:
            kept = filter_tokens(torch.log_softmax(wide / sampling.temperature, -1), sampling)
            least = wide[kept > -torch.inf].min()
        # The edge of a nucleus is a float32 sum; the token next to it may fall on either side.
        slack = 1e-3 if sampling.top_p < 1.0 or sampling.min_p > 0.0 else 0.0
        assert float(wide[token]) >= float(least) - slack, sampling
    expected = torch.log_softmax(logits.float(), -1).gather(1, tokens[:, None])[:, 0]
    torch.testing.assert_close(logprobs, expected, rtol=1e-4, atol=1e-4)


def test_draws_follow_the_softmax() -> None:
    """40,000 draws over 16 tokens: a chi-squared of 15 degrees over 45 has a chance of 1 in 10,000."""
    logits = torch.full((40_000, 6000), -torch.inf, device=DEVICE)
    places = torch.arange(16, device=DEVICE) * 373
    logits[:, places] = torch.linspace(-2.0, 1.0, 16, device=DEVICE)
    tokens, _ = draw(logits, build_rows([Sampling(max_tokens=1, temperature=0.7)] * 40_000, flags=0))
    expected = torch.softmax(torch.linspace(-2.0, 1.0, 16, device=DEVICE) / 0.7, 0) * 40_000
    counts = torch.bincount(tokens, minlength=6000)[places]
    assert int(counts.sum()) == 40_000
    assert float(((counts - expected) ** 2 / expected).sum()) < 45.0


def test_a_seed_draws_the_same_alone_and_in_a_batch_and_in_a_graph() -> None:
    samplings = FILTERS * 6
    logits = (torch.randn((len(samplings), VOCAB), device=DEVICE) * 3).to(BF16)
    rows = build_rows(samplings)
    together, _ = draw(logits, rows)
    for index in range(0, len(samplings), 7):
        one = SamplingRows(*(getattr(rows, name)[index : index + 1] for name in SamplingRows.__slots__))
        assert int(draw(logits[index : index + 1], one)[0]) == int(together[index])
    tokens, logprobs = torch.zeros_like(together), torch.zeros(len(samplings), device=DEVICE)
    scratch = build_sampler_scratch(len(samplings), VOCAB, DEVICE)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        sample(logits, rows, scratch, tokens, logprobs)
    tokens.fill_(-1)
    graph.replay()
    assert torch.equal(tokens, together)
