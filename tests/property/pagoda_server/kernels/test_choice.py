"""Whatever a request asks of its logits and of the choice, kernels do what the reference and the definitions say."""

from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pagoda_server.engine.batch import Chunk
from pagoda_server.engine.request import Request
from pagoda_server.kernels.adjust import Members, adjust
from pagoda_server.kernels.sampler import SamplingTable, build_sampler_scratch, sample
from pagoda_server.runtime.gpu.adjustments import apply_opening, build_adjust_table, pack_bits, plan_opening
from pagoda_server.runtime.gpu.members import count_asks
from pagoda_server.runtime.reference.sampler import apply_penalties, build_sampling_row, forbid_tokens
from pagoda_server.wire import Sampling

pytestmark = [
    pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning"),  # the noise's integers wrap
    pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning"),
]
VOCAB = 70
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
tokens = st.integers(0, 12)
"""Few, so that lists meet."""
asked = st.builds(
    Sampling,
    max_tokens=st.just(99),
    min_tokens=st.integers(0, 9),
    presence_penalty=st.sampled_from([0.0, 0.5]),
    frequency_penalty=st.sampled_from([0.0, -0.25]),
    repetition_penalty=st.sampled_from([1.0, 1.5]),
    logit_bias=st.dictionaries(tokens | st.integers(0, VOCAB - 1), st.floats(-100, 100, width=32), max_size=6).map(
        lambda biases: tuple(biases.items())
    ),
    allowed_token_ids=st.none() | st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=40).map(tuple),
    bad_words=st.lists(st.lists(tokens, min_size=1, max_size=4).map(tuple), max_size=8).map(tuple),
)


@settings(max_examples=60)
@given(
    sampling=asked,
    prompt=st.lists(tokens, min_size=1, max_size=9),
    answer=st.lists(tokens, max_size=9),
    stops=st.frozensets(tokens, max_size=3),
    mask=st.none() | st.lists(st.integers(0, VOCAB - 1), max_size=60),
    seed=st.integers(0, 99),
)
def test_logits_of_a_requests_own_are_the_references(
    sampling: Sampling,
    prompt: list[int],
    answer: list[int],
    stops: frozenset[int],
    mask: list[int] | None,
    seed: int,
) -> None:
    request = Request(
        request_id="r",
        token_ids=prompt + answer,
        num_prompt_tokens=len(prompt),
        sampling=sampling,
        seed=0,
        stop_token_ids=stops,
        row=1,
        is_constrained=mask is not None,
    )
    table = build_adjust_table(2, VOCAB, 2, torch.zeros((2, 32), dtype=torch.int32, device=DEVICE))
    apply_opening(table, [torch.from_numpy(array).to(DEVICE) for array in plan_opening([request], VOCAB).arrays()])
    chunk = Chunk(request, len(request.token_ids) - 1, 1, is_sampled=True)
    members = Members(*(place([value]) for value in (0, 1, chunk.end, count_asks(chunk))))
    logits = torch.randn((1, VOCAB), generator=torch.Generator().manual_seed(seed)).to(DEVICE)
    words = pack_bits(mask or [], VOCAB)
    out = torch.empty((1, VOCAB), device=DEVICE)
    adjust(logits, table, members, torch.from_numpy(words)[None].to(DEVICE), out)
    row = build_sampling_row(request)
    expected = forbid_tokens(apply_penalties(logits[0], row), row, None if mask is None else words)
    torch.testing.assert_close(out[0], expected)


def place(values: list[int]) -> Tensor:
    return torch.tensor(values, dtype=torch.int32, device=DEVICE)


@dataclass(frozen=True)
class Filters:
    temperature: float
    top_k: int
    top_p: float
    min_p: float

    def keep(self, logits: Tensor, slack: float) -> Tensor:
        """Which of [vocab] are kept: equal logits together, as the kernel does. `slack` is for sums of floats."""
        weights = torch.softmax(logits.double() / self.temperature, -1)
        kept = weights >= self.min_p * weights.max() * (1 - slack)
        if 0 < self.top_k < logits.numel():
            kth = logits.masked_fill(~kept, -torch.inf).sort(descending=True).values[self.top_k - 1]
            kept &= logits >= kth
        if self.top_p < 1.0:
            held = weights.masked_fill(~kept, 0.0)
            above = torch.stack([held[logits > one].sum() for one in logits])
            kept &= (above < self.top_p * held.sum() * (1 + slack)) | (logits == logits.max())
        return kept


filters = st.builds(
    Filters,
    temperature=st.sampled_from([0.3, 1.0, 4.0]),
    top_k=st.just(0) | st.integers(1, 90),
    top_p=st.just(1.0) | st.floats(0.0, 1.0, width=32),
    min_p=st.just(0.0) | st.floats(0.0, 1.0, width=32),
)


def draw(logits: Tensor, asked: Filters, seed: int) -> int:
    table = SamplingTable(
        temperature=torch.tensor([asked.temperature], device=DEVICE),
        top_k=place([asked.top_k]),
        top_p=torch.tensor([asked.top_p], device=DEVICE),
        min_p=torch.tensor([asked.min_p], device=DEVICE),
        seed=torch.tensor([seed], device=DEVICE),
    )
    chosen = place([-9])
    sample(logits[None], table, place([0]), place([5]), build_sampler_scratch(1, logits.numel(), DEVICE), chosen)
    return int(chosen)


@settings(max_examples=80)
@given(filters, st.integers(0, 999), st.sampled_from([torch.float32, torch.bfloat16]), st.sampled_from([1.0, 6.0]))
def test_a_filtered_draw_is_the_unfiltered_one_over_what_is_kept(
    asked: Filters, seed: int, dtype: torch.dtype, scale: float
) -> None:
    """Where a sum of floats decides, either set may be the kept one."""
    logits = (scale * torch.randn(300, generator=torch.Generator().manual_seed(seed))).to(dtype).to(DEVICE)
    plain = Filters(asked.temperature, 0, 1.0, 0.0)
    wanted = {
        draw(logits.masked_fill(~asked.keep(logits.float(), slack), -torch.inf), plain, seed) for slack in (-1e-5, 1e-5)
    }
    assert draw(logits, asked, seed) in wanted
