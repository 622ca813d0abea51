"""Paged attention of decode and prefill: what plain attention over gathered pages gives, whatever the shapes."""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from pagoda_server.kernels.decode_attention import decode_attention
from pagoda_server.kernels.decode_plan import DecodePlan, build_decode_plan, plan_decode
from pagoda_server.kernels.prefill_attention import (
    PrefillScratch,
    Tiles,
    build_prefill_scratch,
    choose_splits,
    prefill_attention,
)
from pagoda_server.runtime.cache import LayerCache
from pagoda_server.runtime.reference.attention import attend_pages

PAGE_SIZE = 16
POISON = 7.0
SCALE_TOLERANCE: dict[str, Any] = {"rtol": 1e-5, "atol": 2e-6}


@dataclass(frozen=True)
class Cache:
    k: Tensor
    v: Tensor
    page_table: Tensor
    rows: Tensor
    lengths: Tensor

    def list_pages(self, entry: int) -> Tensor:
        return self.page_table[self.rows[entry]][: -(-int(self.lengths[entry]) // PAGE_SIZE)].long()


def build_cache(lengths: list[int], kv_heads: int, head_dim: int, device: torch.device) -> Cache:
    """Pages in random order, rows in reverse; all that no sequence holds is NaN."""
    used = [-(-length // PAGE_SIZE) for length in lengths]
    shape = (sum(used) + 1, PAGE_SIZE, kv_heads, head_dim)
    k, v = torch.full(shape, torch.nan, device=device), torch.full(shape, torch.nan, device=device)
    page_table = torch.full((len(lengths) + 1, max(used) + 1), 2**30, dtype=torch.int32, device=device)
    rows = torch.arange(len(lengths), 0, -1, dtype=torch.int32, device=device)
    order = torch.randperm(sum(used), device=device) + 1
    for entry, (length, count) in enumerate(zip(lengths, used, strict=True)):
        pages, order = order[:count], order[count:]
        page_table[rows[entry], :count] = pages.int()
        for cache in (k, v):
            values = torch.full((count * PAGE_SIZE, kv_heads, head_dim), torch.nan, device=device)
            values[:length] = torch.randn((length, kv_heads, head_dim), device=device)
            cache[pages] = values.unflatten(0, (count, PAGE_SIZE))
    return Cache(k, v, page_table, rows, torch.tensor(lengths, dtype=torch.int32, device=device))


def attend_plainly(q: Tensor, cache: Cache, counts: list[int], entries: list[int]) -> Tensor:
    pages = [cache.list_pages(entry) for entry in entries]
    lengths = [int(cache.lengths[entry]) for entry in entries]
    return attend_pages(q, LayerCache(cache.k, cache.v), pages, counts, lengths)


def build_plan(rows: Tensor, lengths: Tensor, heads: int, kv_heads: int, head_dim: int) -> DecodePlan:
    plan = build_decode_plan(lengths.shape[0], heads, kv_heads, head_dim, PAGE_SIZE, lengths.device)
    plan.partial.fill_(torch.nan)
    plan.partial_lse.fill_(torch.nan)
    plan_decode(rows, lengths, plan)
    return plan


@pytest.mark.parametrize(
    ("heads", "kv_heads", "head_dim"), [(4, 2, 32), (3, 3, 16), (7, 1, 24), (16, 1, 64), (10, 2, 48)]
)
@pytest.mark.parametrize("at", [None, 3])
def test_decode_is_attention_of_the_last_token(
    heads: int, kv_heads: int, head_dim: int, at: int | None, device: torch.device
) -> None:
    """Alone, and with the entries in the midst of other tokens."""
    lengths = [1, 16, 0, 37, 600]
    cache = build_cache(lengths, kv_heads, head_dim, device)
    begin = at or 0
    q = torch.randn((len(lengths) + 2 * begin, heads, head_dim), device=device)
    out = torch.full_like(q, POISON)
    plan = build_plan(cache.rows, cache.lengths, heads, kv_heads, head_dim)
    assert plan.starts.tolist()[:4] == [0, 1, 2, 2], "short contexts are one piece, none is none"
    first = None if at is None else torch.tensor([at], dtype=torch.int32, device=device)
    paged = (q, cache.k, cache.v, cache.page_table, plan, head_dim**-0.5)
    decode_attention(*paged, out=out, batch=len(lengths), first=first)
    active = [entry for entry, length in enumerate(lengths) if length]
    places = [begin + entry for entry in active]
    expected = attend_plainly(q[places], cache, [1] * len(active), active)
    torch.testing.assert_close(out[places], expected, **SCALE_TOLERANCE)
    others = [place for place in range(q.shape[0]) if place not in places]
    assert bool((out[others] == POISON).all()), "padding or another token was written"


@pytest.mark.parametrize("lengths", [[1], [0, 0, 5], [9000], [700] * 70, [256, 257, 0, 4096, 1], [64] * 300])
def test_pieces_cover_every_page_once_and_none_is_empty(lengths: list[int], device: torch.device) -> None:
    given = torch.tensor(lengths, dtype=torch.int32, device=device)
    rows = torch.randperm(len(lengths), device=device).int()
    plan = build_plan(rows, given, 8, 4, 16)
    pieces = [piece for piece in plan.pieces.tolist() if piece[0] >= 0]
    starts = plan.starts.tolist()
    assert plan.pieces[: len(pieces)].tolist() == pieces, "pieces lie side by side"
    assert starts[-1] == len(pieces) <= plan.count_pieces(len(lengths))
    for entry, length in enumerate(lengths):
        own = pieces[starts[entry] : starts[entry + 1]]
        assert [page for piece in own for page in range(piece[1], piece[2])] == list(range(-(-length // PAGE_SIZE)))
        assert all(piece[0] == entry and piece[1] < piece[2] for piece in own)
        assert all(piece[3:6] == [len(own), int(rows[entry]), length] for piece in own)


@pytest.mark.parametrize("tiles", [None, Tiles(32, 16, 4, 1), Tiles(64, 32, 4, 1)])
@pytest.mark.parametrize(("heads", "kv_heads", "head_dim"), [(4, 2, 32), (3, 1, 24), (6, 6, 16)])
def test_prefill_is_causal_attention_after_a_cached_prefix(
    heads: int, kv_heads: int, head_dim: int, tiles: Tiles | None, device: torch.device
) -> None:
    lengths, counts = [1, 40, 33, 0, 100, 50], [1, 40, 2, 0, 37, 0]
    cache = build_cache(lengths, kv_heads, head_dim, device)
    starts = [sum(counts[:index]) for index in range(len(counts) + 1)]
    q = torch.randn((starts[-1] + 5, heads, head_dim), device=device)
    out = torch.full_like(q, POISON)
    cu_seqlens = torch.tensor(starts, dtype=torch.int32, device=device)
    prefill_attention(
        q, cache.k, cache.v, cache.page_table, cache.rows, cu_seqlens, cache.lengths, head_dim**-0.5, out, tiles=tiles
    )
    active = [entry for entry, (start, end) in enumerate(pairwise(starts)) if end > start]
    expected = attend_plainly(q[: starts[-1]], cache, [counts[entry] for entry in active], active)
    torch.testing.assert_close(out[: starts[-1]], expected, **SCALE_TOLERANCE)
    assert bool((out[starts[-1] :] == POISON).all()), "tokens past the batch were written"


def attend_prompts(
    q: Tensor, cache: Cache, starts: list[int], tiles: Tiles, scratch: PrefillScratch | None, padding: int = 0
) -> Tensor:
    """With so many rows that hold no sequence after the others, as the engine's batch has them."""
    rows = torch.cat([cache.rows, cache.rows.new_full((padding,), -1)])
    lengths = torch.cat([cache.lengths, cache.lengths.new_zeros(padding)])
    cu_seqlens = torch.tensor(starts + starts[-1:] * padding, dtype=torch.int32, device=q.device)
    out, scale = torch.full_like(q, POISON), q.shape[2] ** -0.5
    paged = (q, cache.k, cache.v, cache.page_table, rows, cu_seqlens, lengths)
    return prefill_attention(*paged, scale, out, tiles=tiles, scratch=scratch)


def build_scratch(head_dim: int, num_programs: int, device: torch.device) -> PrefillScratch:
    """For a GPU that so many programs fill."""
    scratch = build_prefill_scratch(head_dim, device)
    scratch.partial.fill_(torch.nan)
    return replace(scratch, num_programs=num_programs)


@pytest.mark.parametrize(
    ("heads", "kv_heads", "counts", "lengths", "num_programs"),
    [
        (1, 1, [64], [2192], 132),  # 137 tiles in parts of 9: the last has 2, and some rows see no key of them
        (2, 2, [20], [700], 64),
        (4, 1, [20], [700], 64),
        (8, 1, [1], [1500], 16),
        (8, 2, [33, 30], [290, 500], 80),
        (2, 2, [3, 0, 17, 1, 40, 8], [400, 0, 300, 1, 41, 136], 24),
        (4, 2, [3, 0, 17, 1, 40, 8], [400, 0, 300, 1, 41, 136], 64),
        (8, 1, [3, 0, 17, 1, 40, 8], [400, 0, 300, 1, 41, 136], 64),
        (2, 1, [1, 1, 1, 1, 1, 1, 1, 0, 1], [300, 2, 257, 17, 1, 999, 128, 0, 500], 4),
        (3, 1, [1, 1, 1, 1, 1, 1, 1, 0, 1], [300, 2, 257, 17, 1, 999, 128, 0, 500], 24),
    ],
)
def test_tiles_whose_keys_are_shared_are_the_same_attention(
    heads: int, kv_heads: int, counts: list[int], lengths: list[int], num_programs: int, device: torch.device
) -> None:
    head_dim, tiles = 16, Tiles(64, 16, 4, 1)
    cache = build_cache(lengths, kv_heads, head_dim, device)
    starts = [sum(counts[:index]) for index in range(len(counts) + 1)]
    q = torch.randn((starts[-1] + 3, heads, head_dim), device=device)
    scratch = build_scratch(head_dim, num_programs, device)
    found, again = (attend_prompts(q, cache, starts, tiles, scratch, padding=4) for _ in range(2))
    active = [entry for entry, count in enumerate(counts) if count]
    expected = attend_plainly(q[: starts[-1]], cache, [counts[entry] for entry in active], active)
    torch.testing.assert_close(found[: starts[-1]], expected, **SCALE_TOLERANCE)
    assert bool((found[starts[-1] :] == POISON).all()), "tokens past the batch were written"
    assert torch.equal(found, again) and not scratch.arrived.any()
    assert not scratch.partial.isnan().all(), "nothing was shared"


def test_keys_that_come_by_tma_are_the_same_keys(device: torch.device) -> None:
    """And after them the diagonal's, which do not."""
    cache = build_cache([700, 90, 40], 2, 32, device)
    q = torch.randn((47, 4, 32), device=device)
    scratch = build_scratch(32, 64, device)
    expected = attend_plainly(q, cache, [20, 17, 10], [0, 1, 2])
    found = attend_prompts(q, cache, [0, 20, 37, 47], Tiles(64, 16, 4, 1, tma=True), scratch)
    torch.testing.assert_close(found, expected, **SCALE_TOLERANCE)
    with pytest.raises(ValueError, match="block_n of at most 16"):
        attend_prompts(q, cache, [0, 20, 37, 47], Tiles(64, 32, 4, 1, tma=True), None)


def test_contexts_too_short_to_share_give_the_bits_of_no_scratch(device: torch.device) -> None:
    tiles, starts = Tiles(32, 16, 4, 1), [0, 1, 21, 30]
    cache = build_cache([240, 33, 9], 2, 16, device)
    q = torch.randn((30, 4, 16), device=device)
    scratch = build_scratch(16, 64, device)
    found = attend_prompts(q, cache, starts, tiles, scratch)
    assert torch.equal(found, attend_prompts(q, cache, starts, tiles, None))
    assert bool(scratch.partial.isnan().all())


@pytest.mark.parametrize("num_tiles", [0, 1, 3, 16, 17, 132, 200, 5000])
@pytest.mark.parametrize("kv_heads", [1, 2, 8, 300])
def test_parts_fill_the_gpu_once_and_the_grid_stays_small(num_tiles: int, kv_heads: int) -> None:
    splits, split_tiles = choose_splits(num_tiles, kv_heads, 264)
    assert 1 <= splits <= 16 and splits * kv_heads * split_tiles <= 2 * 264
    if splits > 1:
        assert splits * kv_heads * num_tiles <= 264 and split_tiles >= 2 * num_tiles
    else:
        assert split_tiles == 0


def test_what_does_not_fit_is_refused_by_name(device: torch.device) -> None:
    cache = build_cache([20], 2, 16, device)
    plan = build_plan(cache.rows, cache.lengths, 4, 2, 16)
    q = torch.randn((1, 4, 16), device=device)
    with pytest.raises(ValueError, match=r"rows has shape \[2\]; give \[1\]"):
        plan_decode(cache.rows.repeat(2), cache.lengths, plan)
    with pytest.raises(ValueError, match="q has 3 heads over 2 of the cache"):
        decode_attention(q[:, :3].contiguous(), cache.k, cache.v, cache.page_table, plan, 1.0)
    with pytest.raises(ValueError, match=r"k_cache is torch.float32; give torch.float16"):
        decode_attention(q.half(), cache.k, cache.v, cache.page_table, plan, 1.0)
    with pytest.raises(ValueError, match="floats; build one for Tiles"):
        scratch = build_prefill_scratch(16, device)
        small = replace(scratch, partial=scratch.partial[:1000])
        attend_prompts(q, cache, [0, 1], Tiles(32, 16, 4, 1), small)
