"""Attention of one new token per sequence over KV pages: split along the context, query heads packed per KV head.

Memory-bound: every key and value is read once. One program takes one piece of a context (`decode_plan.py`) and one KV
head; its `group` query heads fill the rows of the tensor-core tile (at least 16). A tile is a page: one page-table
load, loads without a mask but for the context's last page. Softmax is online and in base 2 (Milakov and Gimelshein,
"Online normalizer calculation for softmax", 2018); the program whose piece is done last merges all of the entry by
their log-sum-exp (flash-decoding, Dao et al., 2023). An entry that is one piece is written at once.

A cache of e4m3 is computed in fp16, which holds all its numbers and which one instruction makes of two of them; to
bf16 it would take four slow ones. Its values are read four at a time, as the bytes of int32 words: tensor cores want
the tokens of a value side by side, where memory has its dimensions, and would pick them byte by byte. So the output is
summed in four parts, of every fourth dimension.
"""

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from pagoda_server.kernels.arguments import FLOATS, check_caches, check_tensor, count_group
from pagoda_server.kernels.arrival import arrive
from pagoda_server.kernels.decode_plan import PIECE_FIELDS, DecodePlan
from pagoda_server.kernels.e4m3 import E4M3
from pagoda_server.kernels.fp8 import to_fp16

LOG2E = 1.4426950408889634
MAX_GROUP = 16
MERGED: tl.constexpr = tl.constexpr(8)
"""Pieces whose loads are under way at once when they are merged."""


@dataclass(frozen=True, slots=True)
class Pipeline:
    num_warps: int
    num_stages: int


def choose_pipeline(head_dim: int, dtype: torch.dtype, cache_dtype: torch.dtype) -> Pipeline:
    """Chooses for sm_90: three programs per SM at head_dim 128, each with two pages of keys and values on the way.

    A part of 64 dimensions of 8 bits is two tiles of a tensor core: more warps would do the same work twice.
    """
    if cache_dtype.itemsize == 1:
        return Pipeline(4 if head_dim > 64 else 2, num_stages=3)
    return Pipeline(4, num_stages=3 if head_dim * dtype.itemsize <= 256 else 2)


def decode_attention(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    page_table: Tensor,
    plan: DecodePlan,
    scale: float,
    out: Tensor | None = None,
    k_scale: float = 1.0,
    v_scale: float = 1.0,
    pipeline: Pipeline | None = None,
    *,
    batch: int | None = None,
    first: Tensor | None = None,
) -> Tensor:
    """Attends q [N, heads, head_dim] → the same shape, for the batch that `plan_decode(rows, lengths, plan)` planned.

    Its entries are the rows of q, or `batch` of them from `first` [1] int32 on; others are neither read nor written.
    Caches [pages, page_size, kv_heads, head_dim] of q's dtype (bf16, fp16, fp32) or e4m3, page_table [rows, max_pages]
    int32. An entry of length 0 reads and writes nothing. `k_scale` and `v_scale` multiply what the caches hold.
    """
    num_tokens, num_heads, head_dim = q.shape
    batch = num_tokens if batch is None else batch
    page_size, kv_heads, _ = check_caches(k_cache, v_cache, q.dtype)
    group = count_group(num_heads, kv_heads, MAX_GROUP)
    check_tensor("q", q, (None, num_heads, k_cache.shape[3]), FLOATS)
    if first is not None:
        check_tensor("first", first, (1,), (torch.int32,))
    check_tensor("page_table", page_table, (None, None), (torch.int32,))
    check_tensor("plan.partial", plan.partial, (None, num_heads, head_dim), (torch.float32,))
    if plan.page_size != page_size or batch >= plan.starts.shape[0]:
        raise ValueError(
            f"plan is for pages of {plan.page_size} and {plan.starts.shape[0] - 1} entries; "
            f"build one for pages of {page_size} and {batch} entries"
        )
    if scale <= 0.0 or k_scale <= 0.0:
        raise ValueError(f"scale is {scale} and k_scale {k_scale}; give positive numbers")
    out = torch.empty_like(q) if out is None else out
    check_tensor("out", out, q.shape, (q.dtype,))
    block_d = triton.next_power_of_2(head_dim)
    pipeline = choose_pipeline(block_d, q.dtype, k_cache.dtype) if pipeline is None else pipeline
    is_split = k_cache.dtype == E4M3 and q.dtype != torch.float32
    _decode_kernel[(kv_heads, plan.count_pieces(batch))](
        q, k_cache, v_cache.view(torch.int32) if is_split else v_cache, page_table, plan.pieces, out,
        plan.starts, plan.partial, plan.partial_lse, plan.arrived, plan.pieces if first is None else first,
        page_table.shape[1], scale * k_scale * LOG2E, v_scale,
        GROUP=group, KV_HEADS=kv_heads, HEAD_DIM=head_dim, PAGE_SIZE=page_size,
        BLOCK_H=max(16, triton.next_power_of_2(group)), BLOCK_D=block_d, V_PARTS=4 if is_split else 1,
        FIRST=first is not None, num_warps=pipeline.num_warps, num_stages=pipeline.num_stages,
    )  # fmt: skip
    return out


@triton.jit
def _load_page(
    ptr, page, num_tokens, STRIDE: tl.constexpr, SIZE: tl.constexpr, PAGE_SIZE: tl.constexpr, BLOCK: tl.constexpr,
    WHOLE: tl.constexpr,
):  # fmt: skip
    """Loads [PAGE_SIZE, BLOCK]: SIZE elements of each token, of all if WHOLE, else of the first `num_tokens`."""
    tokens, columns = tl.arange(0, PAGE_SIZE)[:, None], tl.arange(0, BLOCK)[None, :]
    ptr += page.to(tl.int64) * (PAGE_SIZE * STRIDE) + (tokens * STRIDE + columns)
    if WHOLE and BLOCK == SIZE:
        elements = tl.load(ptr)
    else:
        # Stale values past the length may be NaN, and 0 * NaN is NaN: they are never read.
        elements = tl.load(ptr, mask=(tokens < num_tokens) & (columns < SIZE), other=0.0)
    return elements


@triton.jit
def _take_byte(words, INDEX: tl.constexpr):
    """Returns an e4m3 number of each int32 as fp16."""
    return (words >> (8 * INDEX)).to(tl.int8).to(tl.float8e4nv, bitcast=True).to(tl.float16)


@triton.jit
def _begin_sums(BLOCK_H: tl.constexpr, BLOCK_D: tl.constexpr, PARTS: tl.constexpr):
    zeros = tl.zeros([BLOCK_H, BLOCK_D // PARTS], tl.float32)
    return (zeros,) if PARTS == 1 else (zeros, zeros, zeros, zeros)


@triton.jit
def _join_sums(sums, BLOCK_H: tl.constexpr, BLOCK_D: tl.constexpr):
    """Joins the parts into [BLOCK_H, BLOCK_D]."""
    if len(sums) == 1:
        joined = sums[0]
    else:
        joined = tl.reshape(tl.join(tl.join(sums[0], sums[2]), tl.join(sums[1], sums[3])), [BLOCK_H, BLOCK_D])
    return joined


@triton.jit
def _attend_page(
    q, k_ptr, v_ptr, page, num_tokens, scale_log2, m, denom, sums,
    STRIDE: tl.constexpr, HEAD_DIM: tl.constexpr, PAGE_SIZE: tl.constexpr, BLOCK_D: tl.constexpr, WHOLE: tl.constexpr,
):  # fmt: skip
    """Adds the page's keys and values to the running softmax: all if WHOLE, else the first `num_tokens`."""
    PARTS: tl.constexpr = len(sums)
    k = _load_page(k_ptr, page, num_tokens, STRIDE, HEAD_DIM, PAGE_SIZE, BLOCK_D, WHOLE).to(q.dtype)
    v = _load_page(
        v_ptr, page, num_tokens, STRIDE // PARTS, HEAD_DIM // PARTS, PAGE_SIZE, BLOCK_D // PARTS, WHOLE
    )  # fmt: skip
    scores = tl.dot(q, tl.trans(k), input_precision="ieee")
    if not WHOLE:
        scores = tl.where((tl.arange(0, PAGE_SIZE) < num_tokens)[None, :], scores, float("-inf"))
    new_m = tl.maximum(m, tl.max(scores, 1) * scale_log2)
    p = tl.exp2(scores * scale_log2 - new_m[:, None])  # scaled here it is one fused instruction
    alpha = tl.exp2(m - new_m)
    denom = denom * alpha + tl.sum(p, 1)
    p, alpha = p.to(q.dtype), alpha[:, None]
    if PARTS == 1:
        sums = (tl.dot(p, v.to(p.dtype), sums[0] * alpha, input_precision="ieee"),)
    else:
        sums = (
            tl.dot(p, _take_byte(v, 0), sums[0] * alpha),
            tl.dot(p, _take_byte(v, 1), sums[1] * alpha),
            tl.dot(p, _take_byte(v, 2), sums[2] * alpha),
            tl.dot(p, _take_byte(v, 3), sums[3] * alpha),
        )
    return new_m, denom, sums


@triton.jit
def _decode_kernel(
    q_ptr, k_ptr, v_ptr, table_ptr, pieces_ptr, out_ptr, starts_ptr, partial_ptr, lse_ptr, arrived_ptr, first_ptr,
    max_pages, scale_log2, v_scale,
    GROUP: tl.constexpr, KV_HEADS: tl.constexpr, HEAD_DIM: tl.constexpr, PAGE_SIZE: tl.constexpr,
    BLOCK_H: tl.constexpr, BLOCK_D: tl.constexpr, V_PARTS: tl.constexpr, FIRST: tl.constexpr,
):  # fmt: skip
    """Runs on a grid (kv_heads, pieces): heads of a page lie side by side in memory, so they run side by side."""
    head, piece = tl.program_id(0), tl.program_id(1)
    pieces_ptr += piece * PIECE_FIELDS
    entry = tl.load(pieces_ptr)
    if entry < 0:
        return
    first, last = tl.load(pieces_ptr + 1), tl.load(pieces_ptr + 2)
    num_pieces, length = tl.load(pieces_ptr + 3), tl.load(pieces_ptr + 5)
    table_ptr += tl.load(pieces_ptr + 4).to(tl.int64) * max_pages
    k_ptr += head * HEAD_DIM
    v_ptr += head * (HEAD_DIM // V_PARTS)

    STRIDE: tl.constexpr = KV_HEADS * HEAD_DIM
    heads, dims = tl.arange(0, BLOCK_H), tl.arange(0, BLOCK_D)
    valid = (heads < GROUP)[:, None] & (dims < HEAD_DIM)[None, :]
    offsets = (head * GROUP + heads)[:, None] * HEAD_DIM + dims[None, :]
    token = entry.to(tl.int64)
    if FIRST:
        token += tl.load(first_ptr)
    q = tl.load(q_ptr + token * (GROUP * STRIDE) + offsets, mask=valid, other=0.0)
    if V_PARTS > 1:
        q = to_fp16(q)

    m = tl.full([BLOCK_H], float("-inf"), tl.float32)
    denom = tl.zeros([BLOCK_H], tl.float32)
    sums = _begin_sums(BLOCK_H, BLOCK_D, V_PARTS)
    whole = tl.minimum(last, length // PAGE_SIZE)
    # The page after this one is looked up in the turn before: loads of keys wait for no load of the same turn, so
    # the compiler can start them `num_stages` ahead.
    page = tl.load(table_ptr + first)
    for index in range(first, whole):
        next_page = tl.load(table_ptr + index + 1, mask=index + 1 < last, other=0)
        m, denom, sums = _attend_page(
            q, k_ptr, v_ptr, page, PAGE_SIZE, scale_log2, m, denom, sums, STRIDE, HEAD_DIM, PAGE_SIZE, BLOCK_D, True
        )
        page = next_page
    if whole < last:
        m, denom, sums = _attend_page(
            q, k_ptr, v_ptr, page, length - whole * PAGE_SIZE, scale_log2, m, denom, sums,
            STRIDE, HEAD_DIM, PAGE_SIZE, BLOCK_D, False,
        )  # fmt: skip

    acc = _join_sums(sums, BLOCK_H, BLOCK_D) / denom[:, None] * v_scale
    if num_pieces == 1:
        tl.store(out_ptr + token * (GROUP * STRIDE) + offsets, acc, mask=valid)
    else:
        tl.store(partial_ptr + piece.to(tl.int64) * (GROUP * STRIDE) + offsets, acc, mask=valid)
        lse_offsets = piece * (GROUP * KV_HEADS) + head * GROUP + heads
        tl.store(lse_ptr + lse_offsets, m + tl.log2(denom), mask=heads < GROUP)
        if arrive(arrived_ptr + entry * KV_HEADS + head, num_pieces):
            first_piece = tl.load(starts_ptr + entry)
            out_ptr += token * (GROUP * STRIDE) + head * (GROUP * HEAD_DIM)
            _merge_pieces(
                partial_ptr + head * (GROUP * HEAD_DIM), lse_ptr + head * GROUP, out_ptr, first_piece, num_pieces,
                GROUP, KV_HEADS, HEAD_DIM, BLOCK_D,
            )  # fmt: skip


@triton.jit
def _merge_pieces(
    partial_ptr, lse_ptr, out_ptr, first, count,
    GROUP: tl.constexpr, KV_HEADS: tl.constexpr, HEAD_DIM: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """Merges an entry's heads of one KV head, in the order of the pieces; the loads of MERGED are under way at once."""
    BLOCK_G: tl.constexpr = triton.next_power_of_2(GROUP)
    heads, dims = tl.arange(0, BLOCK_G), tl.arange(0, BLOCK_D)
    inside = (heads < GROUP)[:, None] & (dims < HEAD_DIM)[None, :]
    offsets = heads[:, None] * HEAD_DIM + dims[None, :]
    # Finite, so that a piece which saw nothing (-inf) weighs 0 and never gives -inf - -inf.
    m = tl.full([BLOCK_G], -1.0e30, tl.float32)
    total = tl.zeros([BLOCK_G], tl.float32)
    acc = tl.zeros([BLOCK_G, BLOCK_D], tl.float32)
    for start in range(0, count, MERGED):
        for step in tl.static_range(MERGED):
            is_piece = start + step < count
            row = (first + start + step).to(tl.int64) * (GROUP * KV_HEADS)
            lse = tl.load(lse_ptr + row + heads, mask=is_piece & (heads < GROUP), other=0.0, cache_modifier=".cg")
            lse = tl.where(is_piece, lse, float("-inf"))
            values = tl.load(
                partial_ptr + row * HEAD_DIM + offsets, mask=is_piece & inside, other=0.0, cache_modifier=".cg"
            )
            new_m = tl.maximum(m, lse)
            weight, alpha = tl.exp2(lse - new_m), tl.exp2(m - new_m)
            acc = acc * alpha[:, None] + values * weight[:, None]
            total = total * alpha + weight
            m = new_m
    tl.store(out_ptr + offsets, acc / total[:, None], mask=inside)
