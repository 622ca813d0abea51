"""Projections for `times.py`: each backend of `runtime/gpu/projections.py`, at four models' shapes, to 8,192 tokens.

Bytes are those of the weight alone; the norm, activation or sum that a backend does around the product is in its time.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

import torch
from torch import nn

from bench.kernels.case import BF16, DEVICE, Call, Case
from pagoda_server.kernels.e4m3 import E4M3
from pagoda_server.kernels.linear import MAX_ROWS, LinearTile, build_linear_scratch
from pagoda_server.quant.fp8 import Fp8Linear, quantize_rows
from pagoda_server.runtime.gpu.projections import FP8, TORCH, ProjectionBackend, ResidualStream, TiledBackend
from pagoda_server.start.common_shapes import COMMON_SHAPES
from pagoda_server.start.measure_projections import list_backends

MODELS = {"Qwen3-0.6B": "Qwen3-0.6B", "Llama-1B": "Llama-3.2-1B", "Llama-8B": "Llama-3.1-8B", "Qwen3-8B": "Qwen3-8B"}
"""The shape, by the name in results.json."""
TOKENS = (1, 4, 16, 64, 128, 256, 2048, 8192)
EPS = 1e-6
WIDEST = 65_536
"""Maximum of a weight's rows, and of the rows of the widest tile on every SM: scratch is made for so many."""


def list_linears() -> Iterator[Case]:
    yield from _list_cases(MODELS, BF16, TORCH)


def list_fp8_linears() -> Iterator[Case]:
    """Yields fp8 products. NB: quantizing their input is timed too, where no kernel in front of them would do it."""
    yield from _list_cases(("Llama-8B", "Qwen3-8B"), E4M3, FP8)


def list_linear_choices() -> Iterator[Case]:
    """Yields what `kernels.linear.TILES` was chosen from. Wide tiles read x less often; with few stages more fit."""
    sizes = [(64, 128, 4, 4), (64, 128, 4, 3), (64, 64, 4, 4), (64, 64, 4, 5), (32, 256, 4, 3)]
    sizes += [(128, 64, 4, 4), (128, 64, 8, 4), (128, 128, 8, 2)]
    scratch = build_linear_scratch(WIDEST, DEVICE)
    for (site, shape), tokens, size in product(list_sites("Llama-8B").items(), (16, 64), sizes):
        tile = LinearTile(*size)
        backend = TiledBackend(tile, scratch)
        case = describe_linear("Llama-8B", site, shape, tokens, backend)
        yield replace(case, shape=f"{case.shape} {tile.num_warps}w {tile.num_stages}s")


def list_sites(model: str) -> dict[str, tuple[int, int]]:
    """Returns the weight's [rows, size] of each projection."""
    shape = COMMON_SHAPES[MODELS[model]]
    hidden, size, queries = shape.hidden_size, shape.intermediate_size, shape.num_heads * shape.head_dim
    return {
        "qkv": (queries + 2 * shape.num_kv_heads * shape.head_dim, hidden), "output": (hidden, queries),
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
    """Takes the weight's `dtype`."""
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
