"""Causal attention of many new tokens per sequence over KV pages, a cached prefix included.

Compute-bound: flash attention 2 (Dao, 2023) over pages. A tile's BLOCK_M rows are tokens x query heads of one KV head.
Packing the group always, and not only for short inputs, costs nothing at length (keys are read once per BLOCK_M rows
either way) and wins elsewhere: a 32-token chunk of a group of 4 is one full tile instead of four quarter-full ones,
and a tile of fewer tokens wastes less on the diagonal. Keys that all rows see run without a mask, the diagonal with
one. The former come by the tensor memory accelerator (TMA) where the GPU has one: the program computes no addresses.
The sequence of a tile is found from `cu_seqlens` by the tile itself: sequence i's tiles begin at
`cu_seqlens[i] // tokens_per_tile + i`, so no map is made and the grid depends on shapes alone.

A few tokens after a long context are too few tiles to fill the GPU, each a long walk over its keys. So where a launch
has few tokens, programs share the keys of a tile: each leaves its part in scratch, and the last to arrive merges them
by their largest scores (flash-decoding, Dao et al., 2023). How many may share is fixed by shapes, how many do by the
context.
"""

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton import knobs
from triton.runtime.driver import driver
from triton.tools.tensor_descriptor import TensorDescriptor

from pagoda_server.kernels.arguments import FLOATS, check_caches, check_tensor, count_group
from pagoda_server.kernels.arrival import arrive
from pagoda_server.kernels.decode_plan import count_sms
from pagoda_server.kernels.fp8 import to_fp16

LOG2E = 1.4426950408889634
MAX_GROUP = 32
MAX_BLOCK_M = 128
FIRST_TMA = 90
"""The minimum compute capability, times ten."""
SEARCH_BLOCK: tl.constexpr = tl.constexpr(256)
PROGRAMS_PER_SM = 2
"""That are wanted; below that, tiles are split."""
MAX_SPLITS = 16
MIN_PART: tl.constexpr = tl.constexpr(8)
"""Key tiles of a part, at least: what it costs to merge is worth that many."""
NO_SCORE: tl.constexpr = tl.constexpr(-1.0e30)
"""The largest score of a row that has seen no key: finite, for -inf - -inf is NaN."""


@dataclass(frozen=True, slots=True)
class Tiles:
    block_m: int
    block_n: int
    num_warps: int
    num_stages: int
    tma: bool = False


@dataclass(frozen=True, slots=True)
class PrefillScratch:
    """One for an engine (every graph may share it): its launches run one after the other."""

    partial: Tensor
    """[floats] float32: of each part and row the sum of values, not normalised, the largest score, the denominator."""
    arrived: Tensor
    """[tiles * heads] int32: programs of each that have left their part; 0 between launches."""
    num_programs: int
    """That fill the GPU."""


def has_tma() -> bool:
    """Returns whether the GPU that kernels are compiled for, which need not be here, has TMA."""
    if knobs.runtime.interpret:
        return False
    target = driver.active.get_current_target()
    return bool(target.backend == "cuda" and target.arch >= FIRST_TMA)


def choose_tiles(k_cache: Tensor, dtype: torch.dtype) -> Tiles:
    """Chooses for sm_90: 228 KiB of shared memory hold the queries and `num_stages` tiles of keys and values.

    With TMA two programs of half the rows are faster than one, without it slower.
    """
    page_size, _, head_dim = k_cache.shape[1:]
    if has_tma() and k_cache.dtype.itemsize == 2 and head_dim in (64, 128) and page_size % 64 == 0:
        return Tiles(block_m=64, block_n=64, num_warps=4, num_stages=3, tma=True)
    if dtype == torch.float32:
        return Tiles(block_m=32, block_n=32, num_warps=4, num_stages=1)
    if head_dim <= 128:
        return Tiles(block_m=128, block_n=64, num_warps=8, num_stages=3)
    return Tiles(block_m=128, block_n=64, num_warps=8, num_stages=2)


def build_prefill_scratch(head_dim: int, device: torch.device) -> PrefillScratch:
    """Allocates for tiles of at most MAX_BLOCK_M rows.

    On a GPU of 132 SMs that is 35 MB for head_dim 128, twice that for 256.
    """
    num_programs = PROGRAMS_PER_SM * count_sms(device)
    floats = 2 * num_programs * count_part_floats(MAX_BLOCK_M, head_dim)
    return PrefillScratch(
        partial=torch.empty(floats, dtype=torch.float32, device=device),
        arrived=torch.zeros(num_programs, dtype=torch.int32, device=device),
        num_programs=num_programs,
    )


def count_part_floats(block_m: int, head_dim: int) -> int:
    return block_m * (int(triton.next_power_of_2(head_dim)) + 2)


def choose_splits(num_tiles: int, kv_heads: int, num_programs: int) -> tuple[int, int]:
    """Returns (parts of a tile at most, tiles that may have parts) for a sequence whose tokens fill `num_tiles`.

    As many parts as then fill the GPU once. More sequences have more tiles, the last of them partly filled: of those as
    many may have parts as double the programs, so that no grid is large for the sake of programs without work.
    """
    splits = min(MAX_SPLITS, num_programs // (kv_heads * max(1, num_tiles)))
    return (splits, 2 * num_programs // (kv_heads * splits)) if splits > 1 else (1, 0)


def prefill_attention(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    page_table: Tensor,
    rows: Tensor,
    cu_seqlens: Tensor,
    lengths: Tensor,
    scale: float,
    out: Tensor | None = None,
    k_scale: float = 1.0,
    v_scale: float = 1.0,
    tiles: Tiles | None = None,
    scratch: PrefillScratch | None = None,
) -> Tensor:
    """Attends q [T, heads, head_dim], sequences one after another → [T, heads, head_dim].

    Caches [pages, page_size, kv_heads, head_dim] of q's dtype (bf16, fp16, fp32) or e4m3 already hold the new tokens;
    `k_scale` and `v_scale` multiply what they hold. page_table [rows, max_pages] int32, rows [B] int32, cu_seqlens [B +
    1] int32 where each sequence's queries start, lengths [B] int32 tokens of the context, its new ones last. Tokens
    before cu_seqlens[0] and past cu_seqlens[B], and sequences without new tokens or of length 0, read and write
    nothing. NB: only the first T sequences have programs, so where B > T those without new tokens come last. Without
    `scratch` no tile is split, and what a token gets does not depend on T.
    """
    num_tokens, num_heads, head_dim = q.shape
    batch = rows.shape[0]
    page_size, kv_heads, _ = check_caches(k_cache, v_cache, q.dtype)
    group = count_group(num_heads, kv_heads, MAX_GROUP)
    check_tensor("q", q, (num_tokens, num_heads, k_cache.shape[3]), FLOATS)
    check_tensor("page_table", page_table, (None, None), (torch.int32,))
    check_tensor("rows", rows, (batch,), (torch.int32,))
    check_tensor("cu_seqlens", cu_seqlens, (batch + 1,), (torch.int32,))
    check_tensor("lengths", lengths, (batch,), (torch.int32,))
    tiles = choose_tiles(k_cache, q.dtype) if tiles is None else tiles
    block_d = triton.next_power_of_2(head_dim)
    if max(tiles.block_n, page_size) % min(tiles.block_n, page_size) or tiles.block_n > 2 * page_size:
        raise ValueError(f"block_n is {tiles.block_n}; give a divisor of the page size {page_size}, or twice it")
    if tiles.tma and (tiles.block_n > page_size or head_dim != block_d):
        raise ValueError(f"tma is set: give a block_n of at most {page_size} and a head_dim that is a power of two")
    if scale <= 0.0 or k_scale <= 0.0:
        raise ValueError(f"scale is {scale} and k_scale {k_scale}; give positive numbers")
    out = torch.empty_like(q) if out is None else out
    check_tensor("out", out, q.shape, (q.dtype,))
    tokens_per_tile = tiles.block_m // group
    num_tiles = num_tokens // tokens_per_tile + min(batch, num_tokens)
    splits, split_tiles = 1, 0
    if scratch is not None:
        splits, most = choose_splits(triton.cdiv(num_tokens, tokens_per_tile), kv_heads, scratch.num_programs)
        split_tiles = min(most, num_tiles)
        if split_tiles * splits * kv_heads * count_part_floats(tiles.block_m, head_dim) > scratch.partial.numel():
            raise ValueError(f"scratch has {scratch.partial.numel()} floats; build one for {tiles}")
    k_tiles, v_tiles = (view_as_tiles(cache, tiles) if tiles.tma else cache for cache in (k_cache, v_cache))
    _prefill_kernel[(kv_heads, num_tiles + split_tiles * (splits - 1))](
        q, k_cache, v_cache, k_tiles, v_tiles, page_table, rows, cu_seqlens, lengths, out,
        out if scratch is None else scratch.partial, lengths if scratch is None else scratch.arrived,
        batch, page_table.shape[1], splits, split_tiles, scale * k_scale * LOG2E, v_scale,
        GROUP=group, KV_HEADS=kv_heads, HEAD_DIM=head_dim, PAGE_SIZE=page_size, BLOCK_Q=tokens_per_tile,
        BLOCK_M=tiles.block_m, BLOCK_N=tiles.block_n, BLOCK_D=block_d,
        SPLIT=scratch is not None, TMA=tiles.tma, num_warps=tiles.num_warps, num_stages=tiles.num_stages,
    )  # fmt: skip
    return out


def view_as_tiles(cache: Tensor, tiles: Tiles) -> TensorDescriptor:
    """Views [pages * page_size, kv_heads * head_dim] by tiles of one head's keys; takes 2 microseconds of the host."""
    head_dim = cache.shape[3]
    return TensorDescriptor.from_tensor(cache.view(-1, cache.shape[2] * head_dim), [tiles.block_n, head_dim])


@triton.jit
def _place_program(splits, split_tiles):
    """Returns this program's (tile, part): those that share tiles come first, then last tiles, the longest."""
    program, num_parts = tl.program_id(1), split_tiles * splits
    num_tiles = tl.num_programs(1) - num_parts + split_tiles
    shares = program < num_parts
    tile = tl.where(shares, program // splits, num_tiles - 1 - (program - num_parts))
    return tile, tl.where(shares, program % splits, 0)


@triton.jit
def _find_sequence(cu_ptr, tile, batch, BLOCK_Q: tl.constexpr):
    """Returns whose tile this is; -1: nobody's."""
    found = -1
    for start in range(0, batch, SEARCH_BLOCK):
        index = start + tl.arange(0, SEARCH_BLOCK)
        first = tl.load(cu_ptr + index, mask=index < batch, other=0)
        last = tl.load(cu_ptr + index + 1, mask=index < batch, other=0)
        begins = first // BLOCK_Q + index
        owns = (begins <= tile) & (tile < begins + tl.cdiv(last - first, BLOCK_Q))
        found = tl.maximum(found, tl.max(tl.where(owns, index, -1), 0))
    return found


@triton.jit
def _find_pages(table_ptr, tile, length, PAGE_SIZE: tl.constexpr, BLOCK_N: tl.constexpr):
    """Returns the pages of a tile of keys: twice the same, or two. Past the length none is looked up."""
    index = tile * BLOCK_N // PAGE_SIZE
    first = tl.load(table_ptr + index, mask=index * PAGE_SIZE < length, other=0)
    if BLOCK_N <= PAGE_SIZE:
        second = first
    else:
        second = tl.load(table_ptr + index + 1, mask=(index + 1) * PAGE_SIZE < length, other=0)
    return first, second


@triton.jit
def _locate_keys(first, second, tile, STRIDE: tl.constexpr, PAGE_SIZE: tl.constexpr, BLOCK_N: tl.constexpr):
    """Returns [BLOCK_N] int64 offsets into a cache of the tile's keys: a part of a page, a page, or two."""
    tokens = tl.arange(0, BLOCK_N)
    if BLOCK_N <= PAGE_SIZE:
        offsets = (first.to(tl.int64) * PAGE_SIZE + tile * BLOCK_N % PAGE_SIZE) * STRIDE + tokens * STRIDE
    else:
        page = tl.where(tokens < PAGE_SIZE, first, second).to(tl.int64)
        offsets = (page * PAGE_SIZE + tokens % PAGE_SIZE) * STRIDE
    return offsets


@triton.jit
def _attend_tiles(
    q, positions, k_ptr, v_ptr, k_tiles, v_tiles, column, table_ptr, first, last, length, scale_log2, m, denom, acc,
    STRIDE: tl.constexpr, HEAD_DIM: tl.constexpr, PAGE_SIZE: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr, DIAGONAL: tl.constexpr, TMA: tl.constexpr,
):  # fmt: skip
    """Adds key tiles first..last to the running softmax; on the DIAGONAL each row sees keys up to its own position."""
    tokens, dims = tl.arange(0, BLOCK_N), tl.arange(0, BLOCK_D)
    # Pages are looked up a turn ahead: loads of keys wait for no load of the same turn, so the compiler can start them
    # `num_stages` ahead.
    page, second_page = _find_pages(table_ptr, first, length, PAGE_SIZE, BLOCK_N)
    for tile in range(first, last):
        offsets = _locate_keys(page, second_page, tile, STRIDE, PAGE_SIZE, BLOCK_N)[:, None] + dims[None, :]
        row = page * PAGE_SIZE + tile * BLOCK_N % PAGE_SIZE
        page, second_page = _find_pages(table_ptr, tile + 1, length, PAGE_SIZE, BLOCK_N)
        keys = tile * BLOCK_N + tokens
        if TMA and not DIAGONAL:
            k = k_tiles.load([row, column])
            v = v_tiles.load([row, column])
        elif DIAGONAL or BLOCK_D != HEAD_DIM:
            # Stale values past the length may be NaN, and 0 * NaN is NaN: they are never read.
            valid = (keys < length)[:, None] & (dims < HEAD_DIM)[None, :]
            k = tl.load(k_ptr + offsets, mask=valid, other=0.0).to(q.dtype)
            v = tl.load(v_ptr + offsets, mask=valid, other=0.0).to(q.dtype)
        else:
            k = tl.load(k_ptr + offsets).to(q.dtype)
            v = tl.load(v_ptr + offsets).to(q.dtype)
        scores = tl.dot(q, tl.trans(k), input_precision="ieee")
        if DIAGONAL:
            scores = tl.where(keys[None, :] <= positions[:, None], scores, float("-inf"))
        new_m = tl.maximum(m, tl.max(scores, 1) * scale_log2)
        p = tl.exp2(scores * scale_log2 - new_m[:, None])  # scaled here it is one fused instruction
        alpha = tl.exp2(m - new_m)
        denom = denom * alpha + tl.sum(p, 1)
        acc = tl.dot(p.to(q.dtype), v, acc * alpha[:, None], input_precision="ieee")
        m = new_m
    return m, denom, acc


@triton.jit
def _store_part(part_ptr, m, denom, acc, BLOCK_M: tl.constexpr, BLOCK_D: tl.constexpr):
    rows, dims = tl.arange(0, BLOCK_M), tl.arange(0, BLOCK_D)
    tl.store(part_ptr + rows[:, None] * BLOCK_D + dims[None, :], acc)
    tl.store(part_ptr + BLOCK_M * BLOCK_D + rows, m)
    tl.store(part_ptr + BLOCK_M * (BLOCK_D + 1) + rows, denom)


@triton.jit
def _merge_parts(parts_ptr, count, BLOCK_M: tl.constexpr, BLOCK_D: tl.constexpr):
    """Returns the denominator and the sum of all, in the order of the parts.

    A part in which a row saw no key weighs 0 there.
    """
    rows, dims = tl.arange(0, BLOCK_M), tl.arange(0, BLOCK_D)
    m = tl.full([BLOCK_M], NO_SCORE, tl.float32)
    denom = tl.zeros([BLOCK_M], tl.float32)
    acc = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    for _ in range(count):
        part = tl.load(parts_ptr + rows[:, None] * BLOCK_D + dims[None, :], cache_modifier=".cg")
        part_m = tl.load(parts_ptr + BLOCK_M * BLOCK_D + rows, cache_modifier=".cg")
        part_denom = tl.load(parts_ptr + BLOCK_M * (BLOCK_D + 1) + rows, cache_modifier=".cg")
        new_m = tl.maximum(m, part_m)
        alpha, weight = tl.exp2(m - new_m), tl.exp2(part_m - new_m)
        denom = denom * alpha + part_denom * weight
        acc = acc * alpha[:, None] + part * weight[:, None]
        m = new_m
        parts_ptr += BLOCK_M * (BLOCK_D + 2)
    return denom, acc


@triton.jit(do_not_specialize=["batch", "splits", "split_tiles"])
def _prefill_kernel(
    q_ptr, k_ptr, v_ptr, k_tiles, v_tiles, table_ptr, rows_ptr, cu_ptr, lengths_ptr, out_ptr, partial_ptr, arrived_ptr,
    batch, max_pages, splits, split_tiles, scale_log2, v_scale,
    GROUP: tl.constexpr, KV_HEADS: tl.constexpr, HEAD_DIM: tl.constexpr, PAGE_SIZE: tl.constexpr,
    BLOCK_Q: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr,
    SPLIT: tl.constexpr, TMA: tl.constexpr,
):  # fmt: skip
    """Runs on a grid (kv_heads, tiles, the first `split_tiles` of them `splits` times)."""
    head = tl.program_id(0)
    tile, part = _place_program(splits, split_tiles)
    sequence = _find_sequence(cu_ptr, tile, batch, BLOCK_Q)
    if sequence < 0:
        return
    start = tl.load(cu_ptr + sequence)
    num_queries = tl.load(cu_ptr + sequence + 1) - start
    first_query = (tile - start // BLOCK_Q - sequence) * BLOCK_Q
    length = tl.load(lengths_ptr + sequence)
    if length <= 0:
        return
    first_position = length - num_queries + first_query
    seen_by_all = (first_position + 1) // BLOCK_N
    seen_by_any = tl.cdiv(tl.minimum(first_position + BLOCK_Q, length), BLOCK_N)
    first, last, count = 0, seen_by_any, 1
    if SPLIT:
        most = tl.where(tile < split_tiles, splits, 1)
        # Dividing twice leaves no part empty (5 tiles in 4 parts are 2 + 2 + 1).
        each = tl.cdiv(seen_by_any, tl.maximum(tl.minimum(seen_by_any // MIN_PART, most), 1))
        count = tl.cdiv(seen_by_any, each)
        if part >= count:
            return
        first, last = part * each, tl.minimum(part * each + each, seen_by_any)
    table_ptr += tl.load(rows_ptr + sequence).to(tl.int64) * max_pages
    k_ptr += head * HEAD_DIM
    v_ptr += head * HEAD_DIM

    STRIDE: tl.constexpr = KV_HEADS * HEAD_DIM
    lanes, dims = tl.arange(0, BLOCK_M), tl.arange(0, BLOCK_D)
    queries = first_query + lanes // GROUP
    valid = ((lanes < BLOCK_Q * GROUP) & (queries < num_queries))[:, None] & (dims < HEAD_DIM)[None, :]
    base = (start + first_query).to(tl.int64) * (GROUP * STRIDE) + head * (GROUP * HEAD_DIM)
    offsets = ((lanes // GROUP) * (GROUP * STRIDE) + (lanes % GROUP) * HEAD_DIM)[:, None] + dims[None, :]
    q = tl.load(q_ptr + base + offsets, mask=valid, other=0.0)
    if k_ptr.dtype.element_ty == tl.float8e4nv and q.dtype != tl.float32:
        q = to_fp16(q)

    positions = length - num_queries + queries
    m = tl.full([BLOCK_M], NO_SCORE, tl.float32)
    denom = tl.zeros([BLOCK_M], tl.float32)
    acc = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    m, denom, acc = _attend_tiles(
        q, positions, k_ptr, v_ptr, k_tiles, v_tiles, head * HEAD_DIM, table_ptr,
        first, tl.minimum(seen_by_all, last), length, scale_log2, m, denom, acc,
        STRIDE, HEAD_DIM, PAGE_SIZE, BLOCK_N, BLOCK_D, False, TMA,
    )  # fmt: skip
    m, denom, acc = _attend_tiles(
        q, positions, k_ptr, v_ptr, k_tiles, v_tiles, head * HEAD_DIM, table_ptr,
        tl.maximum(seen_by_all, first), last, length, scale_log2, m, denom, acc,
        STRIDE, HEAD_DIM, PAGE_SIZE, BLOCK_N, BLOCK_D, True, TMA,
    )  # fmt: skip
    if count == 1:
        tl.store(out_ptr + base + offsets, acc / denom[:, None] * v_scale, mask=valid)
    else:
        pair = tile * KV_HEADS + head
        parts_ptr = partial_ptr + pair * splits * (BLOCK_M * (BLOCK_D + 2))
        _store_part(parts_ptr + part * (BLOCK_M * (BLOCK_D + 2)), m, denom, acc, BLOCK_M, BLOCK_D)
        if arrive(arrived_ptr + pair, count):
            denom, acc = _merge_parts(parts_ptr, count, BLOCK_M, BLOCK_D)
            tl.store(out_ptr + base + offsets, acc / denom[:, None] * v_scale, mask=valid)
