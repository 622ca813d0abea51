"""The end of a step: choosing tokens, and making the next step's inputs of them."""

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from bench.kernels.case import BF16, DEVICE, PAGE_SIZE, Call, Case, place
from pagoda_server.kernels.prepare import append_tokens, prepare_decode
from pagoda_server.kernels.sampler import SamplingTable, build_sampler_scratch, sample

VOCAB = 151_936


def list_sampler() -> Iterator[Case]:
    kinds = {
        "greedy": {"temperature": 0.0},
        "temperature": {"temperature": 0.6}, "top_k 20, top_p 0.95": {"temperature": 0.6, "top_k": 20, "top_p": 0.95},
        "top_p 0.95": {"temperature": 0.6, "top_p": 0.95}, "min_p 0.05": {"temperature": 1.0, "min_p": 0.05},
        "top_p 0.95, flat": {"temperature": 9.0, "top_p": 0.95},
    }  # fmt: skip
    for num_rows in (1, 32, 256):
        for kind, options in kinds.items():
            shape = f"{num_rows} x {VOCAB}, {kind}"
            yield Case("sampler", shape, 2 * num_rows * VOCAB, 0, partial(build_sampler, num_rows, options))


def build_sampler(num_rows: int, options: dict[str, float]) -> Call:
    def fill(name: str, default: float, dtype: torch.dtype) -> Tensor:
        return torch.full((num_rows,), options.get(name, default), dtype=dtype, device=DEVICE)

    table = SamplingTable(
        temperature=fill("temperature", 1.0, torch.float32),
        top_k=fill("top_k", 0, torch.int32),
        top_p=fill("top_p", 1.0, torch.float32),
        min_p=fill("min_p", 0.0, torch.float32),
        seed=torch.arange(num_rows, device=DEVICE),
    )
    logits = (torch.randn((num_rows, VOCAB), device=DEVICE) * 3).to(BF16)
    scratch = build_sampler_scratch(num_rows, VOCAB, DEVICE)
    tokens, rows = place([0] * num_rows), place(range(num_rows))
    return lambda: sample(logits, table, rows, rows, scratch, tokens)


def list_prepare() -> Iterator[Case]:
    yield Case("prepare", "256 entries", 256 * 40, 0, lambda: build_prepare(256, False))
    yield Case("append", "256 entries", 256 * 20, 0, lambda: build_prepare(256, True))


def build_prepare(batch: int, append: bool) -> Call:
    pool = torch.zeros((batch, 8192), dtype=torch.int32, device=DEVICE)
    lengths, rows, table = place([1000] * batch), place(range(batch)), torch.zeros_like(pool[:, :128]).contiguous()
    ids, positions, slots, contexts = (place([0] * batch) for _ in range(4))
    first = place([0])
    if append:
        return lambda: append_tokens(ids, rows, pool, lengths)
    return lambda: prepare_decode(rows, pool, lengths, table, PAGE_SIZE, ids, positions, slots, contexts, first)
