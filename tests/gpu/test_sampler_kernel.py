"""The sampler on a GPU at a real vocabulary: it keeps what the reference keeps and draws by the softmax."""

import pytest
import torch
from torch import Tensor

if not torch.cuda.is_available():  # before the kernels load: they would, without the interpreter the unit tests need
    pytest.skip("needs a CUDA GPU", allow_module_level=True)

from pagoda_server.kernels.sampler import SamplingTable, build_sampler_scratch, sample
from pagoda_server.runtime.reference.sampler import filter_tokens
from pagoda_server.wire import Sampling

pytestmark = pytest.mark.gpu
DEVICE = torch.device("cuda")
BF16 = torch.bfloat16
VOCAB = 151_936


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def build_table(samplings: list[Sampling]) -> SamplingTable:
    def place(values: list[float] | list[int], dtype: torch.dtype) -> Tensor:
        return torch.tensor(values, dtype=dtype, device=DEVICE)

    return SamplingTable(
        temperature=place([one.temperature for one in samplings], torch.float32),
        top_k=place([one.top_k for one in samplings], torch.int32),
        top_p=place([one.top_p for one in samplings], torch.float32),
        min_p=place([one.min_p for one in samplings], torch.float32),
        seed=torch.arange(len(samplings), dtype=torch.int64, device=DEVICE) * 7919,
    )


def count(num_rows: int) -> Tensor:
    return torch.arange(num_rows, dtype=torch.int32, device=DEVICE)


def draw(logits: Tensor, table: SamplingTable, rows: Tensor) -> Tensor:
    tokens = torch.full(logits.shape[:1], 99, dtype=torch.int32, device=DEVICE)
    sample(logits, table, rows, rows % 1000, build_sampler_scratch(logits.shape[0], logits.shape[1], DEVICE), tokens)
    return tokens.long()


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
    """Counts equal logits as kept: the reference's sort keeps some of them, the kernel all."""
    samplings = FILTERS * 25
    logits = (torch.randn((len(samplings), VOCAB), device=DEVICE) * 3).to(dtype)
    tokens = draw(logits, build_table(samplings), count(len(samplings)))
    for row, (sampling, token) in enumerate(zip(samplings, tokens.tolist(), strict=True)):
        wide = logits[row].float()
        least = wide.max()
        if sampling.temperature > 0:
            kept = filter_tokens(torch.log_softmax(wide / sampling.temperature, -1), sampling)
            least = wide[kept > -torch.inf].min()
        # The edge of a nucleus is a float32 sum; the token next to it may fall on either side.
        slack = 1e-3 if sampling.top_p < 1.0 or sampling.min_p > 0.0 else 0.0
        assert float(wide[token]) >= float(least) - slack, sampling


def test_draws_follow_the_softmax() -> None:
    """40,000 draws over 16 tokens: a chi-squared of 15 degrees over 45 has a chance of 1 in 10,000."""
    logits = torch.full((40_000, 6000), -torch.inf, device=DEVICE)
    places = torch.arange(16, device=DEVICE) * 373
    logits[:, places] = torch.linspace(-2.0, 1.0, 16, device=DEVICE)
    tokens = draw(logits, build_table([Sampling(max_tokens=1, temperature=0.7)] * 40_000), count(40_000))
    expected = torch.softmax(torch.linspace(-2.0, 1.0, 16, device=DEVICE) / 0.7, 0) * 40_000
    counts = torch.bincount(tokens, minlength=6000)[places]
    assert int(counts.sum()) == 40_000
    assert float(((counts - expected) ** 2 / expected).sum()) < 45.0


def test_a_seed_draws_the_same_alone_and_in_a_batch_and_in_a_graph() -> None:
    samplings = FILTERS * 6
    logits = (torch.randn((len(samplings), VOCAB), device=DEVICE) * 3).to(BF16)
    table, rows = build_table(samplings), count(len(samplings))
    together = draw(logits, table, rows)
    for index in range(0, len(samplings), 7):
        assert int(draw(logits[index : index + 1], table, rows[index : index + 1].clone())) == int(together[index])
    tokens, scratch = torch.zeros_like(together), build_sampler_scratch(len(samplings), VOCAB, DEVICE)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        sample(logits, table, rows, rows % 1000, scratch, tokens)
    tokens.fill_(99)
    graph.replay()
    assert torch.equal(tokens, together)


@pytest.mark.parametrize("dtype", [BF16, torch.float32])
def test_a_temperature_near_0_is_argmax(dtype: torch.dtype) -> None:
    temperatures = [0.0, 1e-46, 1e-40, 1e-38, 1e-20, 9e-6]
    samplings = [
        Sampling(max_tokens=1, temperature=low, top_k=k, top_p=p)
        for low in temperatures
        for k, p in ((0, 1.0), (5, 0.9))
    ]
    logits = (torch.randn((len(samplings), VOCAB), device=DEVICE) * 3).to(dtype)
    tokens = draw(logits, build_table(samplings), count(len(samplings)))
    chosen = logits.gather(1, tokens[:, None])[:, 0]
    assert torch.equal(chosen, logits.max(-1).values)


def test_logits_of_nan_choose_no_token() -> None:
    logits = torch.randn((len(FILTERS), VOCAB), device=DEVICE).to(BF16)
    logits[1::2] = torch.nan
    tokens = draw(logits, build_table(FILTERS), count(len(FILTERS)))
    assert bool((tokens[1::2] == -1).all()) and bool((tokens[::2] >= 0).all())
