"""What `kernels.py` times: kernels at the shapes of real models, with the bytes and the arithmetic each must do."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from pagoda_server.kernels.activation import silu_mul
from pagoda_server.kernels.decode_attention import Pipeline, decode_attention
from pagoda_server.kernels.decode_plan import build_decode_plan, plan_decode
from pagoda_server.kernels.e4m3 import E4M3
from pagoda_server.kernels.norm import add_rms_norm, rms_norm
from pagoda_server.kernels.prefill_attention import PrefillScratch, Tiles, build_prefill_scratch, prefill_attention
from pagoda_server.kernels.prepare import append_tokens, prepare_decode
from pagoda_server.kernels.rope_write import build_rotary_table, rope_write
from pagoda_server.kernels.sampler import SamplingTable, build_sampler_scratch, sample
from pagoda_server.kernels.sum_norm import MAX_TOKENS, Exchange, count_bytes, count_signal_bytes, sum_rms_norm

DEVICE = torch.device("cuda")
BF16 = torch.bfloat16
PAGE_SIZE = 64
VOCAB = 151_936
MODELS = {"8B": (32, 8, 128), "Qwen3-0.6B": (16, 8, 128), "Llama-1B": (32, 8, 64)}
"""Query heads, KV heads, head_dim."""

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
    """Pages in random order."""
    used = [-(-length // PAGE_SIZE) for length in lengths]
    shape = (sum(used), PAGE_SIZE, kv_heads, head_dim)
    table = torch.zeros((len(lengths), max(used)), dtype=torch.int32, device=DEVICE)
    for row, pages in enumerate(torch.split(torch.randperm(sum(used), device=DEVICE).int(), used)):
        table[row, : len(pages)] = pages
    k, v = (torch.randn(shape, dtype=BF16, device=DEVICE).to(dtype) for _ in range(2))
    return Pages(k, v, table, place(range(len(lengths))), place(lengths))


def place(values: range | list[int]) -> Tensor:
    return torch.tensor(list(values), dtype=torch.int32, device=DEVICE)


def list_decode() -> Iterator[Case]:
    mixed = torch.randint(100, 2049, (256,), generator=torch.Generator().manual_seed(0)).tolist()
    batches = {
        "1 x 1024": [1024], "1 x 8192": [8192], "16 x 1024": [1024] * 16, "64 x 1024": [1024] * 64,
        "256 x 1024": [1024] * 256, "32 x 8192": [8192] * 32, "256 x U(100, 2048)": mixed,
        "255 x 128 + 1 x 9000": [128] * 255 + [9000],
    }  # fmt: skip
    for model, (heads, kv_heads, head_dim) in MODELS.items():
        for shape, lengths in batches.items():
            yield describe_decode(f"{model}, {shape}", lengths, heads, kv_heads, head_dim)
            yield describe_decode(f"{model} fp8, {shape}", lengths, heads, kv_heads, head_dim, dtype=E4M3)
    yield Case("plan", "256 entries", 256 * 4, 0.0, lambda: build_plan_call(mixed))


def build_plan_call(lengths: list[int]) -> Call:
    plan, placed = build_decode_plan(len(lengths), 32, 8, 128, PAGE_SIZE, DEVICE), place(lengths)
    return lambda: plan_decode(placed, placed, plan)


def list_decode_choices() -> Iterator[Case]:
    """What `choose_pipeline` and `choose_programs_per_sm` chose from."""
    choices: list[tuple[Pipeline | None, int | None]] = [(None, programs) for programs in (None, 2, 3, 4, 5, 6, 8)]
    choices += [(Pipeline(*one), None) for one in ((4, 2), (4, 3), (4, 4), (4, 6), (2, 3), (2, 4), (8, 3))]
    shapes = {"1 x 8192": [8192], "32 x 2048": [2048] * 32, "32 x 8192": [8192] * 32, "256 x 1024": [1024] * 256}
    for model, (shape, lengths), dtype in product(("8B", "Llama-1B"), shapes.items(), (BF16, E4M3)):
        for pipeline, programs in choices:
            name = "default" if pipeline is None else f"{pipeline.num_warps}w {pipeline.num_stages}s"
            name = f"{model} {'fp8' if dtype == E4M3 else 'bf16'}, {shape}, {name}, {programs or 'default'} an SM"
            yield describe_decode(name, lengths, *MODELS[model], pipeline, programs, dtype)


def describe_decode(
    shape: str,
    lengths: list[int],
    heads: int,
    kv_heads: int,
    head_dim: int,
    pipeline: Pipeline | None = None,
    programs: int | None = None,
    dtype: torch.dtype = BF16,
) -> Case:
    """`dtype`: of the cache."""

    def build() -> Call:
        pages = build_pages(lengths, kv_heads, head_dim, dtype)
        q = torch.randn((len(lengths), heads, head_dim), dtype=BF16, device=DEVICE)
        plan = build_decode_plan(len(lengths), heads, kv_heads, head_dim, PAGE_SIZE, DEVICE, programs)
        plan_decode(pages.rows, pages.lengths, plan)
        out, scale = torch.empty_like(q), head_dim**-0.5
        return lambda: decode_attention(q, pages.k, pages.v, pages.table, plan, scale, out, pipeline=pipeline)

    moved = 2 * dtype.itemsize * sum(lengths) * kv_heads * head_dim + 4 * len(lengths) * heads * head_dim
    return Case("decode", shape, moved, 4.0 * sum(lengths) * heads * head_dim, build)


def list_prefill() -> Iterator[Case]:
    batches = {
        "1 x 1024": ([1024], [1024]), "1 x 8192": ([8192], [8192]), "16 x 512": ([512] * 16, [512] * 16),
        "64 x 128": ([128] * 64, [128] * 64), "1 x 2048 after 8192": ([2048], [10240]),
        "8 x 32 after 2048": ([32] * 8, [2080] * 8),
    }  # fmt: skip
    tiles = [None, Tiles(128, 64, 8, 3), Tiles(128, 128, 8, 2), Tiles(64, 64, 4, 3), Tiles(128, 64, 8, 3, tma=True)]
    for shape, (counts, lengths) in batches.items():
        for tile in tiles:
            yield describe_prefill(shape, counts, lengths, tile)
        yield describe_prefill(f"{shape}, 256 rows", counts, lengths, None, rows=256)
        if counts == lengths and len(counts) == 1:
            yield describe_dense(shape, counts[0])
    for count in (64, 128, 256):
        shape = f"1 x {count} after 8000"
        for tile in tiles:
            yield describe_prefill(shape, [count], [8000 + count], tile)
        yield describe_prefill(f"{shape}, 256 rows", [count], [8000 + count], None, rows=256)
        yield describe_prefill(f"{shape}, not split", [count], [8000 + count], None, split=False)


def count_visible(counts: list[int], lengths: list[int]) -> int:
    """Query-key pairs under the causal mask."""
    pairs = zip(counts, lengths, strict=True)
    return sum(count * (length - count) + count * (count + 1) // 2 for count, length in pairs)


@cache
def share_scratch(head_dim: int) -> PrefillScratch:
    """As an engine does: its parts stay in the L2 cache."""
    return build_prefill_scratch(head_dim, DEVICE)


def describe_prefill(
    shape: str, counts: list[int], lengths: list[int], tiles: Tiles | None, *, rows: int = 0, split: bool = True
) -> Case:
    """`rows`: of the batch, those of nobody included, as the engine's graphs have them."""
    heads, kv_heads, head_dim = MODELS["8B"]
    padding = max(0, rows - len(counts))

    def build() -> Call:
        pages = build_pages(lengths, kv_heads, head_dim)
        starts = [sum(counts[:index]) for index in range(len(counts) + 1)]
        cu_seqlens = place(starts + starts[-1:] * padding)
        q = torch.randn((sum(counts), heads, head_dim), dtype=BF16, device=DEVICE)
        batch, contexts = F.pad(pages.rows, (0, padding), value=-1), F.pad(pages.lengths, (0, padding))
        out, scale = torch.empty_like(q), head_dim**-0.5
        scratch = share_scratch(head_dim) if split else None
        paged = (q, pages.k, pages.v, pages.table, batch, cu_seqlens, contexts)
        return lambda: prefill_attention(*paged, scale, out, tiles=tiles, scratch=scratch)

    name = "default" if tiles is None else name_tiles(tiles)
    moved = 4 * sum(lengths) * kv_heads * head_dim + 4 * sum(counts) * heads * head_dim
    return Case(
        "prefill", f"{shape}, tiles {name}", moved, 4.0 * count_visible(counts, lengths) * heads * head_dim, build
    )


def name_tiles(tiles: Tiles) -> str:
    name = f"{tiles.block_m}x{tiles.block_n}, {tiles.num_warps}w, {tiles.num_stages}s"
    return f"{name}, TMA" if tiles.tma else name


def describe_dense(shape: str, tokens: int) -> Case:
    heads, kv_heads, head_dim = MODELS["8B"]

    def build() -> Call:
        q = torch.randn((1, heads, tokens, head_dim), dtype=BF16, device=DEVICE)
        k, v = (torch.randn((1, kv_heads, tokens, head_dim), dtype=BF16, device=DEVICE) for _ in range(2))
        return lambda: F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)

    moved = 4 * tokens * (heads + kv_heads) * head_dim
    flops = 4.0 * count_visible([tokens], [tokens]) * heads * head_dim
    return Case("prefill", f"{shape}, torch's own (dense)", moved, flops, build)


def list_layers() -> Iterator[Case]:
    heads, kv_heads, head_dim = MODELS["8B"]
    hidden, size, width = 4096, 14336, (heads + 2 * kv_heads) * head_dim
    for tokens in (1, 256, 8192):
        yield Case("norm", f"{tokens} x {hidden}", 4 * tokens * hidden, 0, partial(build_norm, tokens, hidden, False))
        yield Case(
            "add+norm", f"{tokens} x {hidden}", 8 * tokens * hidden, 0, partial(build_norm, tokens, hidden, True)
        )
        if tokens <= MAX_TOKENS:
            for ranks in (2, 8):
                moved, build = 2 * (ranks + 3) * tokens * hidden, partial(build_sum_norm, tokens, hidden, ranks)
                yield Case("sum+norm", f"{tokens} x {hidden}, {ranks} ranks in one memory", moved, 0, build)
        yield Case("silu*up", f"{tokens} x {size}", 6 * tokens * size, 0, partial(build_silu, tokens, size))
        yield Case("rope+write", f"{tokens} x {width}", 4 * tokens * width, 0, partial(build_rope, tokens, False))
        yield Case("rope+write", f"{tokens}, q/k norm", 4 * tokens * width, 0, partial(build_rope, tokens, True))


def build_norm(tokens: int, hidden: int, add: bool) -> Call:
    x, residual, out = (torch.randn((tokens, hidden), dtype=BF16, device=DEVICE) for _ in range(3))
    weight = torch.ones(hidden, dtype=BF16, device=DEVICE)
    if add:
        return lambda: add_rms_norm(x, residual, weight, 1e-6, out)
    return lambda: rms_norm(x, weight, 1e-6, out)


def build_sum_norm(tokens: int, hidden: int, ranks: int) -> Call:
    """What it costs by itself: all shares are in this GPU's memory, and the other ranks have long been here."""
    share_bytes = 2 * tokens * hidden
    memory = torch.zeros((ranks, count_bytes(ranks, share_bytes)), dtype=torch.uint8, device=DEVICE)
    addresses = [one.data_ptr() for one in memory]
    memory[0, : count_signal_bytes(ranks)].view(torch.int64).view(-1, ranks)[:, 1:] = 1 << 40
    shares = Exchange(memory[0], addresses, rank=0).shares(torch.empty((tokens, hidden), dtype=BF16, device=DEVICE), 0)
    assert shares is not None
    residual, weight = (torch.randn(shape, dtype=BF16, device=DEVICE) for shape in ((tokens, hidden), (hidden,)))
    return lambda: sum_rms_norm(shares, residual, weight, 1e-6)


def build_silu(tokens: int, size: int) -> Call:
    gate_up = torch.randn((tokens, 2 * size), dtype=BF16, device=DEVICE)
    out = gate_up.new_empty((tokens, size))
    return lambda: silu_mul(gate_up, out)


def build_rope(tokens: int, with_norm: bool) -> Call:
    heads, kv_heads, head_dim = MODELS["8B"]
    num_pages = tokens // PAGE_SIZE + 1
    qkv = torch.randn((tokens, (heads + 2 * kv_heads) * head_dim), dtype=BF16, device=DEVICE)
    k, v = (torch.zeros((num_pages, PAGE_SIZE, kv_heads, head_dim), dtype=BF16, device=DEVICE) for _ in range(2))
    cos, sin = build_rotary_table(torch.rand(head_dim // 2, device=DEVICE), 8192)
    positions, slots = place(range(tokens)), torch.randperm(num_pages * PAGE_SIZE, device=DEVICE)[:tokens].int()
    weight = torch.ones(head_dim, dtype=BF16, device=DEVICE) if with_norm else None
    out = qkv.new_empty((tokens, heads, head_dim))
    return lambda: rope_write(qkv, positions, slots, cos, sin, k, v, heads, weight, weight, 1e-6, out)


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


CASES = {
    "decode": list_decode,
    "decode-choices": list_decode_choices,
    "prefill": list_prefill,
    "layers": list_layers,
    "sampler": list_sampler,
    "prepare": list_prepare,
}
