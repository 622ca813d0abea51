"""Log-probabilities of a few rows of logits in two launches, without a softmax and without a sort in memory.

`_measure` reads the logits once, a block of the vocabulary a program. `_rank`, one program a row, has their logsumexp
then, and finds the likeliest tokens by the largest logit of each short span: the N likeliest of all are within the N
spans whose largest are the largest.
"""

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from pagoda_server.kernels.arguments import FLOATS, check_tensor

BLOCK = 4096
SPAN = 128
MAX_TOP = 20
SLOTS: tl.constexpr = tl.constexpr(32)
"""A power of two from `MAX_TOP`."""
WIDTH = 1 + 2 * MAX_TOP
"""int32 of a row's result: the bits of the given token's, then the likeliest tokens, then the bits of theirs."""
PAST_ALL: tl.constexpr = tl.constexpr(0x7FFFFFFF)


@dataclass(frozen=True, slots=True)
class LogprobsScratch:
    block_peak: Tensor
    """[S, blocks] float32: each block's largest logit."""
    block_mass: Tensor
    """[S, blocks] float32: sum of exp(logit - peak)."""
    peaks: Tensor
    """[S, blocks * BLOCK / SPAN] float32: the largest logit of each span."""


def build_logprobs_scratch(max_rows: int, vocab_size: int, device: torch.device) -> LogprobsScratch:
    blocks = triton.cdiv(vocab_size, BLOCK)

    def make(columns: int) -> Tensor:
        return torch.empty((max_rows, columns), dtype=torch.float32, device=device)

    return LogprobsScratch(make(blocks), make(blocks), make(blocks * (BLOCK // SPAN)))


def rank_logprobs(
    logits: Tensor, places: Tensor, tokens: Tensor, num_top: int, scratch: LogprobsScratch, out: Tensor
) -> None:
    """Writes to out [M, `WIDTH`] int32 of logits [S, vocab]: row i is that of `places[i]`, places [M] int32.

    tokens [S] int32: the tokens whose log-probability comes first, by their places; one below 0 counts as 0. `num_top`
    likeliest follow, at most `MAX_TOP`, the likeliest first, of equal ones the smaller token; the rest of out stays.
    """
    num_rows, vocab_size = places.shape[0], logits.shape[1]
    check_tensor("logits", logits, (None, None), FLOATS)
    check_tensor("places", places, (None,), (torch.int32,))
    check_tensor("tokens", tokens, (None,), (torch.int32,))
    check_tensor("out", out, (num_rows, WIDTH), (torch.int32,))
    if num_top > min(MAX_TOP, vocab_size):
        raise ValueError(f"num_top is {num_top}; give at most {min(MAX_TOP, vocab_size)}")
    if scratch.block_peak.shape[0] < num_rows:
        raise ValueError(f"scratch holds {scratch.block_peak.shape[0]} rows; build one for {num_rows}")
    if not num_rows:
        return
    blocks = triton.cdiv(vocab_size, BLOCK)
    num_peaks = blocks * (BLOCK // SPAN)
    _measure_kernel[(blocks, num_rows)](
        logits, places, scratch.block_peak, scratch.block_mass, scratch.peaks,
        VOCAB=vocab_size, BLOCKS=blocks, BLOCK=BLOCK, SPAN=SPAN, num_warps=4,
    )  # fmt: skip
    _rank_kernel[(num_rows,)](
        logits, places, tokens, scratch.block_peak, scratch.block_mass, scratch.peaks, out, num_top,
        VOCAB=vocab_size, BLOCKS=blocks, BLOCKS_POW2=triton.next_power_of_2(blocks),
        PEAKS=num_peaks, PEAKS_POW2=triton.next_power_of_2(num_peaks), SPAN=SPAN,
        WIDTH=WIDTH, MAX_TOP=MAX_TOP, num_warps=8,
    )  # fmt: skip


@triton.jit
def _measure_kernel(
    logits_ptr, places_ptr, peak_ptr, mass_ptr, peaks_ptr,
    VOCAB: tl.constexpr, BLOCKS: tl.constexpr, BLOCK: tl.constexpr, SPAN: tl.constexpr,
):  # fmt: skip
    """Runs on a grid (blocks, rows)."""
    block, row = tl.program_id(0), tl.program_id(1)
    count: tl.constexpr = BLOCK // SPAN
    tokens = block * BLOCK + tl.arange(0, BLOCK)
    logits_ptr += tl.load(places_ptr + row).to(tl.int64) * VOCAB
    x = tl.load(logits_ptr + tokens, mask=tokens < VOCAB, other=float("-inf")).to(tl.float32)
    out = row * BLOCKS + block
    peak = tl.max(x, 0)
    tl.store(peak_ptr + out, peak)
    tl.store(mass_ptr + out, tl.sum(tl.exp(x - tl.maximum(peak, -3.0e38)), 0))
    tl.store(peaks_ptr + out * count + tl.arange(0, count), tl.max(tl.reshape(x, (count, SPAN)), 1))


@triton.jit
def _take_best(x, index, is_left, last: tl.constexpr):
    """Finds the largest of x that is left, of equal ones that of the smallest index; returns it and who is left then.

    Where nothing is finite the index is any, `last` at most.
    """
    best = tl.max(tl.where(is_left, x, float("-inf")), 0)
    found = tl.minimum(tl.min(tl.where(is_left & (x == best), index, PAST_ALL), 0), last)
    return best, found, is_left & (index != found)


@triton.jit(do_not_specialize=["num_top"])
def _rank_kernel(
    logits_ptr, places_ptr, tokens_ptr, peak_ptr, mass_ptr, peaks_ptr, out_ptr, num_top,
    VOCAB: tl.constexpr, BLOCKS: tl.constexpr, BLOCKS_POW2: tl.constexpr, PEAKS: tl.constexpr,
    PEAKS_POW2: tl.constexpr, SPAN: tl.constexpr, WIDTH: tl.constexpr, MAX_TOP: tl.constexpr,
):  # fmt: skip
    """Runs on a grid (rows)."""
    row = tl.program_id(0)
    place = tl.load(places_ptr + row).to(tl.int64)
    logits_ptr += place * VOCAB
    out_ptr += row * WIDTH
    block = tl.arange(0, BLOCKS_POW2)
    block_peaks = tl.load(peak_ptr + row * BLOCKS + block, mask=block < BLOCKS, other=float("-inf"))
    mass = tl.load(mass_ptr + row * BLOCKS + block, mask=block < BLOCKS, other=0.0)
    peak = tl.maximum(tl.max(block_peaks, 0), -3.0e38)
    total = peak + tl.log(tl.sum(mass * tl.exp(block_peaks - peak), 0))
    token = tl.maximum(tl.load(tokens_ptr + place), 0)
    own = tl.load(logits_ptr + token).to(tl.float32) - total
    tl.store(out_ptr, own.to(tl.int32, bitcast=True))

    span = tl.arange(0, PEAKS_POW2)
    peaks = tl.load(peaks_ptr + row * PEAKS + span, mask=span < PEAKS, other=float("-inf"))
    slot = tl.arange(0, SLOTS)
    spans = tl.full([SLOTS], PEAKS, tl.int32)
    is_left = span < PEAKS
    for index in range(0, tl.minimum(num_top, PEAKS)):
        _, found, is_left = _take_best(peaks, span, is_left, PEAKS - 1)
        spans = tl.where(slot == index, found, spans)
    tokens = tl.reshape(spans[:, None] * SPAN + tl.arange(0, SPAN)[None, :], (SLOTS * SPAN,))
    is_left = tokens < VOCAB
    x = tl.load(logits_ptr + tokens, mask=is_left, other=float("-inf")).to(tl.float32)
    for index in range(0, num_top):
        best, found, is_left = _take_best(x, tokens, is_left, VOCAB - 1)
        tl.store(out_ptr + 1 + index, found)
        tl.store(out_ptr + 1 + MAX_TOP + index, (best - total).to(tl.int32, bitcast=True))
