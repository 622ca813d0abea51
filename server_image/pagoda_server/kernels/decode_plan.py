"""Cuts a decode batch into pieces of equal work, on the GPU, once per step for all layers.

A piece is a run of pages of one entry, so a lone long context fills the GPU as well as a large batch does, and there is
no batch size at which splitting stops. Programs run in waves, of as many as the GPU holds at once, and a last wave that
is nearly empty costs as much as a full one: 32 contexts of 16 pages over 8 heads are 512 programs in halves, a full
wave of 396 (at three programs per SM) and one a third full, and 768 in thirds, two nearly full ones. So a few lengths
are tried, and the one is taken whose waves end first: equal parts of the longest context, and equal parts of all pages
for one to MAX_WAVES waves. No piece is so short that there were more than the list holds: sum(ceil(pages_b / piece)) <=
batch + total / piece, which is at most `count_pieces(batch)`, the grid of the attention kernel.
"""

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from pagoda_server.kernels.arguments import check_tensor

MIN_PIECE_TOKENS = 128
MAX_WAVES = 2
PARTS: tl.constexpr = tl.constexpr(14)
"""Parts of the longest context, at most; with the waves 16 candidates."""
START_PAGES: tl.constexpr = tl.constexpr(1)
"""What it costs to begin a piece, in pages."""
PIECE_FIELDS: tl.constexpr = tl.constexpr(8)
FALLBACK_SMS = 132
"""A Hopper GPU's; for machines without CUDA, where only tests run."""


@dataclass(frozen=True, slots=True)
class DecodePlan:
    """Scratch of one batch size after another: made once for the largest batch, rewritten every step."""

    pieces: Tensor
    """[capacity, 8] int32: entry (-1: unused), first page, page after the last, pieces of the entry, its page-table row
    and its length; two columns are padding. All that a program must know before its first page lies in one line."""
    starts: Tensor
    """[max_batch + 1] int32: the first piece of each entry."""
    partial: Tensor
    """[capacity, heads, head_dim] float32: each piece's attention, normalised."""
    partial_lse: Tensor
    """[capacity, heads] float32: base-2 logarithm of each piece's sum of exponentials."""
    arrived: Tensor
    """[max_batch, kv_heads] int32: pieces of an entry that are in `partial`; 0 between launches."""
    wave_pieces: int
    """How many run at once."""
    page_size: int

    def count_pieces(self, batch: int) -> int:
        """Returns the maximum number of pieces of a batch of this size."""
        return batch + MAX_WAVES * self.wave_pieces


def count_sms(device: torch.device) -> int:
    if device.type != "cuda":
        return FALLBACK_SMS
    return int(torch.cuda.get_device_properties(device).multi_processor_count)


def choose_programs_per_sm(head_dim: int) -> int:
    """Returns how many of `decode_attention` run at once, by the registers and shared memory they take on sm_90."""
    if head_dim <= 64:
        return 5
    return 3 if head_dim <= 128 else 2


def build_decode_plan(
    max_batch: int,
    num_heads: int,
    kv_heads: int,
    head_dim: int,
    page_size: int,
    device: torch.device,
    programs_per_sm: int | None = None,
) -> DecodePlan:
    """Allocates about (max_batch + 150) * heads * head_dim * 4 bytes."""
    if not 0 < max_batch <= 4096:
        raise ValueError(f"max_batch is {max_batch}; give 1 to 4096")
    programs = choose_programs_per_sm(head_dim) if programs_per_sm is None else programs_per_sm
    wave_pieces = max(1, programs * count_sms(device) // kv_heads)
    capacity = max_batch + MAX_WAVES * wave_pieces
    return DecodePlan(
        pieces=torch.full((capacity, PIECE_FIELDS.value), -1, dtype=torch.int32, device=device),
        starts=torch.zeros(max_batch + 1, dtype=torch.int32, device=device),
        partial=torch.empty((capacity, num_heads, head_dim), dtype=torch.float32, device=device),
        partial_lse=torch.empty((capacity, num_heads), dtype=torch.float32, device=device),
        arrived=torch.zeros((max_batch, kv_heads), dtype=torch.int32, device=device),
        wave_pieces=wave_pieces,
        page_size=page_size,
    )


def plan_decode(rows: Tensor, lengths: Tensor, plan: DecodePlan) -> None:
    """Fills `plan.pieces` and `plan.starts` for a batch of B entries, before the step's first `decode_attention`.

    rows [B] int32 the page-table row of each entry, lengths [B] int32 tokens with the one being decoded; 0: padding.
    """
    batch = lengths.shape[0]
    check_tensor("rows", rows, (batch,), (torch.int32,))
    check_tensor("lengths", lengths, (batch,), (torch.int32,))
    if batch >= plan.starts.shape[0]:
        raise ValueError(f"lengths has {batch} entries, the plan holds {plan.starts.shape[0] - 1}; build a larger plan")
    block = max(16, triton.next_power_of_2(batch))
    block_pieces = max(2, min(32, 8192 // block))
    num_pieces = plan.count_pieces(batch)
    _plan_kernel[(triton.cdiv(num_pieces, block_pieces),)](
        rows,
        lengths,
        plan.pieces,
        plan.starts,
        batch,
        num_pieces,
        plan.wave_pieces,
        PAGE_SIZE=plan.page_size,
        MAX_WAVES=MAX_WAVES,
        MIN_PAGES=max(1, MIN_PIECE_TOKENS // plan.page_size),
        BLOCK=block,
        BLOCK_PIECES=block_pieces,
        num_warps=4,
    )


@triton.jit
def _choose_length(pages, wave_pieces, MIN_PAGES: tl.constexpr, MAX_WAVES: tl.constexpr):
    """Returns the pages of the longest piece, for entries of `pages` [B]."""
    candidate = tl.arange(0, PARTS + MAX_WAVES)
    longest, total = tl.max(pages, 0), tl.sum(pages, 0)
    of_longest = tl.cdiv(longest, tl.minimum(candidate + 1, PARTS))
    of_all = tl.cdiv(total, tl.maximum(candidate + 1 - PARTS, 1) * wave_pieces)
    shortest = tl.maximum(tl.cdiv(total, MAX_WAVES * wave_pieces), MIN_PAGES)
    length = tl.maximum(tl.where(candidate < PARTS, of_longest, of_all), shortest)
    count = tl.maximum(tl.sum(tl.cdiv(pages[None, :], length[:, None]), 1), 1)
    waves = tl.cdiv(count, wave_pieces)
    mean = total.to(tl.float32) / count
    cost = (waves - 1) * mean + tl.minimum(length, longest) + waves * START_PAGES
    return tl.min(tl.where(cost == tl.min(cost, 0), length, total + MIN_PAGES), 0)


@triton.jit(do_not_specialize=["batch", "num_pieces", "wave_pieces"])
def _plan_kernel(
    rows_ptr,
    lengths_ptr,
    pieces_ptr,
    starts_ptr,
    batch,
    num_pieces,
    wave_pieces,
    PAGE_SIZE: tl.constexpr,
    MAX_WAVES: tl.constexpr,
    MIN_PAGES: tl.constexpr,
    BLOCK: tl.constexpr,
    BLOCK_PIECES: tl.constexpr,
):
    """Plans the whole batch in each program, which is cheap; each writes its own part of the list."""
    entries = tl.arange(0, BLOCK)
    pages = tl.cdiv(tl.load(lengths_ptr + entries, mask=entries < batch, other=0), PAGE_SIZE)
    longest = _choose_length(pages, wave_pieces, MIN_PAGES, MAX_WAVES)
    # Equal pieces of an entry; dividing twice leaves no piece empty (5 pages in 4 pieces are 2 + 2 + 1).
    size = tl.maximum(tl.cdiv(pages, tl.maximum(tl.cdiv(pages, longest), 1)), 1)
    count = tl.cdiv(pages, size)
    ends = tl.cumsum(count, 0)
    starts = ends - count
    piece = tl.program_id(0) * BLOCK_PIECES + tl.arange(0, BLOCK_PIECES)
    owns = (starts[None, :] <= piece[:, None]) & (piece[:, None] < ends[None, :])
    entry = tl.max(tl.where(owns, entries[None, :], -1), 1)
    index = piece - tl.sum(tl.where(owns, starts[None, :], 0), 1)
    size_of = tl.sum(tl.where(owns, size[None, :], 0), 1)
    first = index * size_of
    last = tl.minimum(first + size_of, tl.sum(tl.where(owns, pages[None, :], 0), 1))
    row = tl.load(rows_ptr + entry, mask=entry >= 0, other=0)
    length = tl.load(lengths_ptr + entry, mask=entry >= 0, other=0)
    count_of = tl.sum(tl.where(owns, count[None, :], 0), 1)
    written = piece < num_pieces
    out_ptr = pieces_ptr + piece * PIECE_FIELDS
    tl.store(out_ptr, entry, mask=written)
    tl.store(out_ptr + 1, first, mask=written)
    tl.store(out_ptr + 2, last, mask=written)
    tl.store(out_ptr + 3, count_of, mask=written)
    tl.store(out_ptr + 4, row, mask=written)
    tl.store(out_ptr + 5, length, mask=written)
    if tl.program_id(0) == 0:
        tl.store(starts_ptr + 1 + entries, ends, mask=entries < batch)
        tl.store(starts_ptr, 0)
