"""What a kernel is timed on: its inputs at the shape of a real model, with the bytes and the arithmetic it must do."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pagoda_server.start.common_shapes import COMMON_SHAPES

DEVICE = torch.device("cuda")
BF16 = torch.bfloat16
PAGE_SIZE = 64
MODELS = {"8B": "Llama-3.1-8B", "Qwen3-0.6B": "Qwen3-0.6B", "Llama-1B": "Llama-3.2-1B"}
"""The shape, by the name in results.json."""

Call = Callable[[], object]


@dataclass(frozen=True)
class Case:
    kernel: str
    shape: str
    num_bytes: float
    flops: float
    build: Callable[[], Call]
    """Makes a fresh set of inputs and returns the call on it."""


@dataclass(frozen=True)
class Pages:
    k: Tensor
    v: Tensor
    table: Tensor
    rows: Tensor
    lengths: Tensor


def build_pages(lengths: list[int], kv_heads: int, head_dim: int, dtype: torch.dtype = BF16) -> Pages:
    """Returns the caches of sequences of these lengths, their pages in random order."""
    used = [-(-length // PAGE_SIZE) for length in lengths]
    shape = (sum(used), PAGE_SIZE, kv_heads, head_dim)
    table = torch.zeros((len(lengths), max(used)), dtype=torch.int32, device=DEVICE)
    for row, pages in enumerate(torch.split(torch.randperm(sum(used), device=DEVICE).int(), used)):
        table[row, : len(pages)] = pages
    k, v = (torch.randn(shape, dtype=BF16, device=DEVICE).to(dtype) for _ in range(2))
    return Pages(k, v, table, place(range(len(lengths))), place(lengths))


def find_heads(model: str) -> tuple[int, int, int]:
    """Returns query heads, KV heads and head_dim."""
    shape = COMMON_SHAPES[MODELS[model]]
    return shape.num_heads, shape.num_kv_heads, shape.head_dim


def place(values: range | list[int]) -> Tensor:
    return torch.tensor(list(values), dtype=torch.int32, device=DEVICE)
