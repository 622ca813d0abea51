"""Projections of small batches for `kernels.py`: every way of `runtime/linears.py` at the shapes of four models.

Bytes are those of the weight alone; the norm, activation or sum that a way does around the product is in its time.
"""

from collections.abc import Iterator
from functools import partial

import torch
from torch import nn

from bench.kernel_cases import BF16, DEVICE, Call, Case
from pagoda_server.kernels import gemv, linear
from pagoda_server.runtime.linears import TORCH, Gemv, Stream, Tiled, Way

SIZES = {"Qwen3-0.6B": (1024, 3072, 16, 8, 128), "Llama-1B": (2048, 8192, 32, 8, 64)}
SIZES |= {"Llama-8B": (4096, 14336, 32, 8, 128), "Qwen3-8B": (4096, 12288, 32, 8, 128)}
"""Hidden, intermediate, query heads, KV heads, head_dim."""
EPS = 1e-6


def list_linears() -> Iterator[Case]:
    """Shapes are those of the weight, [rows, size]."""
    for model, (hidden, size, heads, kv_heads, head_dim) in SIZES.items():
        sites = {
            "qkv": ((heads + 2 * kv_heads) * head_dim, hidden), "output": (hidden, heads * head_dim),
            "gate_up": (2 * size, hidden), "down": (hidden, size),
        }  # fmt: skip
        for site, shape in sites.items():
            for tokens in (1, 4, 16, 64):
                for way in list_ways(tokens):
                    yield describe_linear(model, site, shape, tokens, way)


def list_ways(tokens: int) -> list[Way]:
    if tokens == 1:
        return [TORCH, *(Gemv(tile) for tile in gemv.TILES)]
    scratch = linear.build_linear_scratch(max(2 * sizes[1] for sizes in SIZES.values()), DEVICE)
    return [TORCH, *(Tiled(tile, scratch) for tile in linear.list_tiles(DEVICE, BF16))]


def describe_linear(model: str, site: str, shape: tuple[int, int], tokens: int, way: Way) -> Case:
    rows, size = shape
    name = f"{model} {site}, {tokens}, {way.name}"
    build = partial(build_linear, site, rows, size, tokens, way)
    return Case("linear", name, 2 * rows * size, 2.0 * tokens * rows * size, build)


def build_linear(site: str, rows: int, size: int, tokens: int, way: Way) -> Call:
    projection = nn.Linear(size, rows, bias=False, device=DEVICE, dtype=BF16).requires_grad_(False)
    x, norm = (torch.randn(shape, device=DEVICE, dtype=BF16) for shape in ((tokens, size), (size,)))
    total = torch.randn((tokens, rows), device=DEVICE, dtype=BF16)
    if site == "qkv":
        return lambda: way.read(Stream(x), norm, EPS, projection)
    if site == "gate_up":
        return lambda: way.read_gated(Stream(x), norm, EPS, projection)
    return lambda: way.write(x, projection, Stream(total))
