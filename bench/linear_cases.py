"""Projections for `kernels.py`: each backend of `runtime/gpu/projections.py`, at four models' shapes, to 8,192 tokens.

Bytes are those of the weight alone; the norm, activation or sum that a backend does around the product is in its time.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

import torch
from torch import nn

from bench.kernel_cases import BF16, DEVICE, Call, Case
from pagoda_server.kernels.e4m3 import E4M3
from pagoda_server.kernels.linear import MAX_ROWS, LinearTile, build_linear_scratch
from pagoda_server.quant.fp8 import Fp8Linear, quantize_rows
from pagoda_server.runtime.gpu.projections import FP8, TORCH, ProjectionBackend, ResidualStream, TiledBackend
from pagoda_server.start.measure_projections import list_backends

SIZES = {"Qwen3-0.6B": (1024, 3072, 16, 8, 128), "Llama-1B": (2048, 8192, 32, 8, 64)}
SIZES |= {"Llama-8B": (4096, 14336, 32, 8, 128), "Qwen3-8B": (4096, 12288, 32, 8, 128)}
"""Hidden, intermediate, query heads, KV heads, head_dim."""
TOKENS = (1, 4, 16, 64, 128, 256, 2048, 8192)
EPS = 1e-6
WIDEST = 65_536
"""Rows that scratch is for: of all weights, and of the widest tile on every SM."""


def list_linears() -> Iterator[Case]:
    yield from _list_cases(SIZES, BF16, TORCH)


def list_fp8_linears() -> Iterator[Case]:
    """NB: quantizing what goes in is in the time, where no kernel before the product would do it."""
    yield from _list_cases(("Llama-8B", "Qwen3-8B"), E4M3, FP8)


def list_linear_choices() -> Iterator[Case]:
    """What `kernels.linear.TILES` was chosen from. Wider tiles read x less often; with few stages more fit an SM."""
    sizes = [(64, 128, 4, 4), (64, 128, 4, 3), (64, 64, 4, 4), (64, 64, 4, 5), (32, 256, 4, 3)]
    sizes += [(128, 64, 4, 4), (128, 64, 8, 4), (128, 128, 8, 2)]
    scratch = build_linear_scratch(WIDEST, DEVICE)
    for (site, shape), tokens, size in product(list_sites("Llama-8B").items(), (16, 64), sizes):
        tile = LinearTile(*size)
        backend = TiledBackend(tile, scratch)
        case = describe_linear("Llama-8B", site, shape, tokens, backend)
        yield replace(case, shape=f"{case.shape} {tile.num_warps}w {tile.num_stages}s")


def list_sites(model: str) -> dict[str, tuple[int, int]]:
    """The weight's [rows, size] of each projection."""
    hidden, size, heads, kv_heads, head_dim = SIZES[model]
    return {
        "qkv": ((heads + 2 * kv_heads) * head_dim, hidden), "output": (hidden, heads * head_dim),
        "gate_up": (2 * size, hidden), "down": (hidden, size),
    }  # fmt: skip


def _list_cases(models: Iterable[str], dtype: torch.dtype, usual: ProjectionBackend) -> Iterator[Case]:
    scratch = build_linear_scratch(WIDEST, DEVICE)
    for model in models:
        for (site, shape), tokens in product(list_sites(model).items(), TOKENS):
            own = list_backends(tokens, dtype, scratch) if tokens <= MAX_ROWS else []
            for backend in (usual, *own):
                yield describe_linear(model, site, shape, tokens, backend, dtype)


def describe_linear(
    model: str, site: str, shape: tuple[int, int], tokens: int, backend: ProjectionBackend, dtype: torch.dtype = BF16
) -> Case:
    """`dtype`: of the weight."""
    rows, size = shape
    name = f"{model} {site}, {tokens}, {backend.name}"
    build = partial(build_linear, site, rows, size, tokens, backend, dtype)
    return Case("linear", name, dtype.itemsize * rows * size, 2.0 * tokens * rows * size, build)


def build_linear(site: str, rows: int, size: int, tokens: int, backend: ProjectionBackend, dtype: torch.dtype) -> Call:
    projection: Any = nn.Linear(size, rows, bias=False, device=DEVICE, dtype=BF16).requires_grad_(False)
    if dtype == E4M3:
        projection = quantize(projection)
    x, norm = (torch.randn(shape, device=DEVICE, dtype=BF16) for shape in ((tokens, size), (size,)))
    total = torch.randn((tokens, rows), device=DEVICE, dtype=BF16)
    if site == "qkv":
        return lambda: backend.read(ResidualStream(x), norm, EPS, projection)
    if site == "gate_up":
        return lambda: backend.read_gated(ResidualStream(x), norm, EPS, projection)
    return lambda: backend.write(x, projection, ResidualStream(total))


def quantize(projection: nn.Linear) -> Fp8Linear:
    weight, scales = quantize_rows(projection.weight)
    with DEVICE:
        quantized = Fp8Linear(projection.in_features, projection.out_features, None, BF16)
    quantized.weight.copy_(weight)
    quantized.weight_scale.copy_(scales.squeeze(-1))
    return quantized
