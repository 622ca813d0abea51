"""Attention of a decode step, over a cache in bf16 and in fp8, and the plan that it follows."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import torch

from bench.kernels.case import BF16, DEVICE, MODELS, PAGE_SIZE, Call, Case, build_pages, find_heads, place
from pagoda_server.kernels.decode_attention import Pipeline, decode_attention
from pagoda_server.kernels.decode_plan import build_decode_plan, plan_decode
from pagoda_server.kernels.e4m3 import E4M3


@dataclass(frozen=True, slots=True)
class Decode:
    model: str
    lengths: list[int]
    """Tokens in the context of each sequence."""
    dtype: torch.dtype = BF16
    """The cache's type."""
    pipeline: Pipeline | None = None
    """Defaults to the one that the kernel chooses; so do the programs per SM."""
    programs: int | None = None


def list_decode() -> Iterator[Case]:
    mixed = torch.randint(100, 2049, (256,), generator=torch.Generator().manual_seed(0)).tolist()
    batches = {
        "1 x 1024": [1024], "1 x 8192": [8192], "16 x 1024": [1024] * 16, "64 x 1024": [1024] * 64,
        "256 x 1024": [1024] * 256, "32 x 8192": [8192] * 32, "256 x U(100, 2048)": mixed,
        "255 x 128 + 1 x 9000": [128] * 255 + [9000],
    }  # fmt: skip
    for model, (shape, lengths) in product(MODELS, batches.items()):
        yield describe_decode(f"{model}, {shape}", Decode(model, lengths))
        yield describe_decode(f"{model} fp8, {shape}", Decode(model, lengths, E4M3))
    yield Case("plan", "256 entries", 256 * 4, 0.0, lambda: build_plan_call(mixed))


def build_plan_call(lengths: list[int]) -> Call:
    plan, placed = build_decode_plan(len(lengths), 32, 8, 128, PAGE_SIZE, DEVICE), place(lengths)
    return lambda: plan_decode(placed, placed, plan)


def list_decode_choices() -> Iterator[Case]:
    """Yields what `choose_pipeline` and `choose_programs_per_sm` chose from."""
    choices: list[tuple[Pipeline | None, int | None]] = [(None, programs) for programs in (None, 2, 3, 4, 5, 6, 8)]
    choices += [(Pipeline(*one), None) for one in ((4, 2), (4, 3), (4, 4), (4, 6), (2, 3), (2, 4), (8, 3))]
    shapes = {"1 x 8192": [8192], "32 x 2048": [2048] * 32, "32 x 8192": [8192] * 32, "256 x 1024": [1024] * 256}
    for model, (shape, lengths), dtype in product(("8B", "Llama-1B"), shapes.items(), (BF16, E4M3)):
        for pipeline, programs in choices:
            name = "default" if pipeline is None else f"{pipeline.num_warps}w {pipeline.num_stages}s"
            name = f"{model} {'fp8' if dtype == E4M3 else 'bf16'}, {shape}, {name}, {programs or 'default'} an SM"
            yield describe_decode(name, Decode(model, lengths, dtype, pipeline, programs))


def describe_decode(shape: str, decode: Decode) -> Case:
    lengths, (heads, kv_heads, head_dim) = decode.lengths, find_heads(decode.model)

    def build() -> Call:
        pages = build_pages(lengths, kv_heads, head_dim, decode.dtype)
        q = torch.randn((len(lengths), heads, head_dim), dtype=BF16, device=DEVICE)
        plan = build_decode_plan(len(lengths), heads, kv_heads, head_dim, PAGE_SIZE, DEVICE, decode.programs)
        plan_decode(pages.rows, pages.lengths, plan)
        out, scale = torch.empty_like(q), head_dim**-0.5
        return lambda: decode_attention(q, pages.k, pages.v, pages.table, plan, scale, out, pipeline=decode.pipeline)

    moved = 2 * decode.dtype.itemsize * sum(lengths) * kv_heads * head_dim + 4 * len(lengths) * heads * head_dim
    return Case("decode", shape, moved, 4.0 * sum(lengths) * heads * head_dim, build)
