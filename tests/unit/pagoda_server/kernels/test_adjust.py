"""Penalties and bias at listed entries: the reference's numbers, and no other logit changes."""

import torch

from pagoda_server.kernels.adjust import adjust_logits
from pagoda_server.runtime.reference.sampler import SamplingRow, apply_penalties
from pagoda_server.wire import Sampling

VOCAB = 50


def test_entries_get_the_references_penalties(device: torch.device) -> None:
    sampling = Sampling(max_tokens=9, presence_penalty=0.5, frequency_penalty=0.25, repetition_penalty=1.3)
    row = SamplingRow(sampling, 0, 0, prompt_token_ids=[3, 4], output_token_ids=[4, 7, 7], stop_token_ids=frozenset())
    logits = torch.randn((2, VOCAB), device=device)
    expected = torch.stack([logits[0], apply_penalties(logits[1], row)])
    expected[0, 11] += 2.5
    expected[1, 12] = -torch.inf

    def place(values: list[int] | list[float], dtype: torch.dtype) -> torch.Tensor:
        return torch.tensor(values, dtype=dtype, device=device)

    adjust_logits(
        logits,
        rows=place([1, 1, 1, 0, 1, -1], torch.int32),
        tokens=place([3, 4, 7, 11, 12, 13], torch.int32),
        counts=place([0, 1, 2, -1, -1, 5], torch.int32),
        biases=place([0.0, 0.0, 0.0, 2.5, -torch.inf, 1.0], torch.float32),
        presence=place([0.0, 0.5], torch.float32),
        frequency=place([0.0, 0.25], torch.float32),
        repetition=place([1.0, 1.3], torch.float32),
    )
    torch.testing.assert_close(logits, expected)
