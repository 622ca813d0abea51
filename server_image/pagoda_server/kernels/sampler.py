"""The next token of each row in two launches, without a sort and without a softmax in memory.

`scan` reads the logits once, a vocabulary block a program, so that one row uses many SMs: Gumbel-max (argmax of
logits / temperature plus Gumbel noise draws from the softmax) or argmax, and what the second launch needs. `choose`
(`sampler_choose.py`), one program per row, takes the best of the blocks and, for rows with top_k, top_p or min_p, finds
the threshold of what they keep; only if the drawn token is not kept does it draw again among those that are, with the
same noise: the outcome is Gumbel-max over the kept tokens.
"""

from dataclasses import dataclass, fields

import torch
import triton
import triton.language as tl
from torch import Tensor

from pagoda_server.kernels.arguments import FLOATS, check_tensor
from pagoda_server.kernels.noise import LANE, draw_words, to_gumbel
from pagoda_server.kernels.sampler_choose import GREEDY_TEMPERATURE, LOG2E, choose_kernel

BLOCK = 4096
"""Tokens of a block: four lanes of noise."""
PEAK_SPAN = 128
KEPT_CAPACITY = 8192
NO_TOKEN = -1
"""The choice of a row whose logits are all NaN or -inf."""


@dataclass(frozen=True, slots=True)
class SamplingTable:
    """How requests choose, on the GPU, where each has a row. All [R]."""

    temperature: Tensor
    """float32; below `GREEDY_TEMPERATURE`: the likeliest token, and the filters do nothing."""
    top_k: Tensor
    """int32; 0: all."""
    top_p: Tensor
    """float32; 1: all."""
    min_p: Tensor
    """float32; 0: all."""
    seed: Tensor
    """int64."""


@dataclass(frozen=True, slots=True)
class SamplerScratch:
    block_value: Tensor
    """[S, blocks] float32: each block's best score."""
    block_token: Tensor
    """[S, blocks] int32: and its token."""
    block_peak: Tensor
    """[S, blocks] float32: each block's largest logit."""
    block_mass: Tensor
    """[S, blocks] float32: sum of exp((logit - peak) / temperature)."""
    peaks: Tensor
    """[S, blocks * BLOCK / PEAK_SPAN] float32: the largest logit of each short span."""
    spans: Tensor
    """Like `peaks`, int32: the spans that may hold a token which passes the filters."""
    kept_value: Tensor
    """[S, KEPT_CAPACITY] float32: logits that may pass the filters."""
    kept_token: Tensor
    """[S, KEPT_CAPACITY] int32."""


DTYPES = {
    "temperature": torch.float32,
    "top_k": torch.int32,
    "top_p": torch.float32,
    "min_p": torch.float32,
    "seed": torch.int64,
}


def build_sampler_scratch(max_rows: int, vocab_size: int, device: torch.device) -> SamplerScratch:
    """Allocates about 75 kB per row."""
    blocks = triton.cdiv(vocab_size, BLOCK)

    def make(columns: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.empty((max_rows, columns), dtype=dtype, device=device)

    return SamplerScratch(
        block_value=make(blocks),
        block_token=make(blocks, torch.int32),
        block_peak=make(blocks),
        block_mass=make(blocks),
        peaks=make(blocks * (BLOCK // PEAK_SPAN)),
        spans=make(blocks * (BLOCK // PEAK_SPAN), torch.int32),
        kept_value=make(KEPT_CAPACITY),
        kept_token=make(KEPT_CAPACITY, torch.int32),
    )


def sample(
    logits: Tensor, table: SamplingTable, rows: Tensor, positions: Tensor, scratch: SamplerScratch, tokens: Tensor
) -> None:
    """Chooses by logits [S, vocab] (bf16, fp16, fp32), left as they were → tokens [S] int32 or int64, or `NO_TOKEN`.

    rows [S] int32: how each chooses, by its place in the table; -1 is padding, which chooses `NO_TOKEN`.
    positions [S] int32: of the tokens to choose, in their sequences. Tokens whose logits are equal are kept or dropped
    together by top_k and top_p.
    """
    num_rows, vocab_size = logits.shape
    blocks = triton.cdiv(vocab_size, BLOCK)
    check_tensor("logits", logits, (None, None), FLOATS)
    for field in fields(table):
        check_tensor(f"table.{field.name}", getattr(table, field.name), (None,), (DTYPES[field.name],))
    check_tensor("rows", rows, (num_rows,), (torch.int32,))
    check_tensor("positions", positions, (num_rows,), (torch.int32,))
    check_tensor("tokens", tokens, (num_rows,), (torch.int32, torch.int64))
    check_tensor("scratch.block_value", scratch.block_value, (None, blocks), (torch.float32,))
    if scratch.block_value.shape[0] < num_rows:
        raise ValueError(f"scratch holds {scratch.block_value.shape[0]} rows; build one for {num_rows}")
    if not num_rows:
        return
    how = (table.temperature, table.top_k, table.top_p, table.min_p, table.seed, rows, positions)
    _scan_kernel[(blocks, num_rows)](
        logits, *how, scratch.block_value, scratch.block_token, scratch.block_peak, scratch.block_mass, scratch.peaks,
        VOCAB=vocab_size, BLOCKS=blocks, PEAK_SPAN=PEAK_SPAN, num_warps=4,
    )  # fmt: skip
    num_peaks = blocks * (BLOCK // PEAK_SPAN)
    choose_kernel[(num_rows,)](
        logits, *how, scratch.block_value, scratch.block_token, scratch.block_peak, scratch.block_mass,
        scratch.peaks, scratch.spans, scratch.kept_value, scratch.kept_token, tokens,
        VOCAB=vocab_size, BLOCKS=blocks, BLOCKS_POW2=triton.next_power_of_2(blocks),
        PEAKS=num_peaks, PEAKS_POW2=triton.next_power_of_2(num_peaks), PEAK_SPAN=PEAK_SPAN,
        CAPACITY=KEPT_CAPACITY, NO_TOKEN=NO_TOKEN, BLOCK=BLOCK,
        SHIFT=16 if logits.dtype == torch.bfloat16 else 0, num_warps=16,
    )  # fmt: skip


@triton.jit
def _load_lane(logits_ptr, token, VOCAB: tl.constexpr):
    return tl.load(logits_ptr + token, mask=token < VOCAB, other=float("-inf")).to(tl.float32)


@triton.jit
def _better(value, token, other_value, other_token):
    take = other_value > value
    return tl.where(take, other_value, value), tl.where(take, other_token, token)


@triton.jit
def _sum_exp(x0, x1, x2, x3, peak, factor):
    """Sums exp2((x - peak) * factor) over four lanes; `peak` is finite."""
    near = tl.exp2((x0 - peak) * factor) + tl.exp2((x1 - peak) * factor)
    return tl.sum(near + tl.exp2((x2 - peak) * factor) + tl.exp2((x3 - peak) * factor), 0)


@triton.jit
def _store_peaks(peaks_ptr, x, lane: tl.constexpr, PEAK_SPAN: tl.constexpr):
    count: tl.constexpr = LANE // PEAK_SPAN
    peaks = tl.max(tl.reshape(x, (count, PEAK_SPAN)), 1)
    tl.store(peaks_ptr + lane * count + tl.arange(0, count), peaks)


@triton.jit
def _scan_kernel(
    logits_ptr, temperature_ptr, top_k_ptr, top_p_ptr, min_p_ptr, seed_ptr, rows_ptr, positions_ptr,
    value_ptr, token_ptr, peak_ptr, mass_ptr, peaks_ptr,
    VOCAB: tl.constexpr, BLOCKS: tl.constexpr, PEAK_SPAN: tl.constexpr,
):  # fmt: skip
    """Runs on a grid (blocks, rows)."""
    block, row = tl.program_id(0), tl.program_id(1)
    place = tl.load(rows_ptr + row)
    if place >= 0:
        lanes = tl.arange(0, LANE)
        t0 = block * (4 * LANE) + lanes
        t1, t2, t3 = t0 + LANE, t0 + 2 * LANE, t0 + 3 * LANE
        logits_ptr += row.to(tl.int64) * VOCAB
        x0, x1 = _load_lane(logits_ptr, t0, VOCAB), _load_lane(logits_ptr, t1, VOCAB)
        x2, x3 = _load_lane(logits_ptr, t2, VOCAB), _load_lane(logits_ptr, t3, VOCAB)
        s0, s1, s2, s3 = x0, x1, x2, x3
        temperature = tl.load(temperature_ptr + place)
        if temperature >= GREEDY_TEMPERATURE:
            inverse = 1.0 / temperature
            counter = block * LANE + lanes
            w0, w1, w2, w3 = draw_words(tl.load(seed_ptr + place), tl.load(positions_ptr + row), counter)
            s0, s1 = x0 * inverse + to_gumbel(w0), x1 * inverse + to_gumbel(w1)
            s2, s3 = x2 * inverse + to_gumbel(w2), x3 * inverse + to_gumbel(w3)
        best, token = _better(s0, t0, s1, t1)
        best, token = _better(best, token, s2, t2)
        best, token = _better(best, token, s3, t3)
        value = tl.max(best, 0)
        out = row * BLOCKS + block
        tl.store(value_ptr + out, value)
        tl.store(token_ptr + out, tl.min(tl.where(best == value, token, 0x7FFFFFFF), 0))

        top_k = tl.load(top_k_ptr + place)
        limits_k = (top_k > 0) & (top_k < VOCAB)
        limits = limits_k | (tl.load(top_p_ptr + place) < 1.0) | (tl.load(min_p_ptr + place) > 0.0)
        if (temperature >= GREEDY_TEMPERATURE) & limits:
            peak = tl.max(tl.maximum(tl.maximum(x0, x1), tl.maximum(x2, x3)), 0)
            tl.store(peak_ptr + out, peak)
            finite = tl.maximum(peak, -3.0e38)  # a block of -inf alone must sum to 0, not to NaN
            tl.store(mass_ptr + out, _sum_exp(x0, x1, x2, x3, finite, LOG2E / temperature))
            base = peaks_ptr + out * (4 * LANE // PEAK_SPAN)
            _store_peaks(base, x0, 0, PEAK_SPAN)
            _store_peaks(base, x1, 1, PEAK_SPAN)
            _store_peaks(base, x2, 2, PEAK_SPAN)
            _store_peaks(base, x3, 3, PEAK_SPAN)
