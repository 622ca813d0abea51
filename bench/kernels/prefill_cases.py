"""Attention of prompts, from their start and after a context, beside torch's own over a dense prompt."""

from collections.abc import Iterator
from functools import cache

import torch
import torch.nn.functional as F

from bench.kernels.case import BF16, DEVICE, Call, Case, build_pages, find_heads, place
from pagoda_server.kernels.prefill_attention import PrefillScratch, Tiles, build_prefill_scratch, prefill_attention


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
    """Returns the number of query-key pairs under the causal mask."""
    pairs = zip(counts, lengths, strict=True)
    return sum(count * (length - count) + count * (count + 1) // 2 for count, length in pairs)


@cache
def share_scratch(head_dim: int) -> PrefillScratch:
    """Returns one scratch for all, as an engine has: its parts stay in the L2 cache."""
    return build_prefill_scratch(head_dim, DEVICE)


def describe_prefill(
    shape: str, counts: list[int], lengths: list[int], tiles: Tiles | None, *, rows: int = 0, split: bool = True
) -> Case:
    """Pads the batch to `rows` rows with such as are nobody's, as the engine's graphs have them."""
    heads, kv_heads, head_dim = find_heads("8B")
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
    heads, kv_heads, head_dim = find_heads("8B")

    def build() -> Call:
        q = torch.randn((1, heads, tokens, head_dim), dtype=BF16, device=DEVICE)
        k, v = (torch.randn((1, kv_heads, tokens, head_dim), dtype=BF16, device=DEVICE) for _ in range(2))
        return lambda: F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)

    moved = 4 * tokens * (heads + kv_heads) * head_dim
    flops = 4.0 * count_visible([tokens], [tokens]) * heads * head_dim
    return Case("prefill", f"{shape}, torch's own (dense)", moved, flops, build)
