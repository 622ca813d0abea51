"""Every rank's share of a projection, the residual sum and the RMS norm after it, in one kernel.

One-shot: each rank writes its share into memory that all have mapped, and reads everyone's for itself, in the order of
the ranks, so that all have the same bits. Latency is all there is to win: a sum of a decode step is a few hundred KiB.
One program per row; it waits for the same program of the other ranks, and for no more. Rounds as a sum over the ranks
and `norm.add_rms_norm` after it would: the sum, the residual and the normed value each to the activations' dtype.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from pagoda_server.kernels.arguments import FLOATS, check_tensor, choose_num_warps
from pagoda_server.kernels.fp8 import build_quantized, store_quantized
from pagoda_server.kernels.norm import round_norm

MAX_TOKENS = 512
"""In one sum. Programs start in their order and wait for their like alone, so that no rank need hold all at once."""
SIGNAL_BYTES = 8
ALIGNMENT = 128
MAX_COUNTED: tl.constexpr = tl.constexpr(1 << 62)


@dataclass(frozen=True, slots=True)
class Shares:
    """The shares of one sum: each rank writes its own, and `sum_rms_norm` reads all."""

    own: Tensor
    """[T, hidden], in the memory of this rank."""
    addresses: tuple[int, ...]
    """Pointers to each rank's share, in their order."""
    signals: tuple[int, ...]
    """Pointers to each rank's signals [MAX_TOKENS, ranks] int64: how often a rank came to a program. A rank's own is
    its count, the others' are theirs: a CUDA graph holds no number that would change from one replay to the next."""
    rank: int


class Exchange:
    """Memory of each rank that all have mapped: signals, then two buffers for shares, which take turns.

    With two, one meeting a sum is enough. A rank writes to a buffer again two sums later, after its kernel of the sum
    between has ended: so all others have begun that kernel, hence ended the one before it, which read the buffer. No
    two sums in a row may use the same buffer, across graphs and whatever else runs between them, all in one stream.
    """

    def __init__(self, memory: Tensor, addresses: Sequence[int], rank: int) -> None:
        """Takes this rank's memory [N] uint8. Its signals are zero on every rank before any rank sums.

        `addresses`: where this process has mapped each rank's memory, in the order of the ranks.
        """
        self._signal_bytes = count_signal_bytes(len(addresses))
        self._buffer_bytes = (memory.shape[0] - self._signal_bytes) // 2 // ALIGNMENT * ALIGNMENT
        if any(address % ALIGNMENT for address in addresses) or memory.data_ptr() != addresses[rank]:
            raise ValueError(
                f"memory is at {memory.data_ptr()} and addresses are {addresses}; give it as that of rank {rank}, "
                f"and all at multiples of {ALIGNMENT}"
            )
        self._memory, self._addresses, self._rank = memory, tuple(addresses), rank

    def shares(self, like: Tensor, index: int) -> Shares | None:
        """Returns the shares of one more tensor like this, [T, hidden]; None if it is too large.

        `index`: odd and even in turn.
        """
        if like.nbytes > self._buffer_bytes or like.shape[0] > MAX_TOKENS:
            return None
        begin = self._signal_bytes + index % 2 * self._buffer_bytes
        return Shares(
            own=self._memory[begin : begin + like.nbytes].view(like.dtype).view(like.shape),
            addresses=tuple(address + begin for address in self._addresses),
            signals=self._addresses,
            rank=self._rank,
        )


def count_bytes(ranks: int, share_bytes: int) -> int:
    """Counts the memory of an `Exchange` whose shares are of so many bytes at most."""
    return count_signal_bytes(ranks) + 2 * -(-share_bytes // ALIGNMENT) * ALIGNMENT


def count_signal_bytes(ranks: int) -> int:
    return MAX_TOKENS * ranks * SIGNAL_BYTES


def sum_rms_norm(shares: Shares, residual: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Adds the sum of all shares to residual [T, hidden] in place, and returns the norm of that.

    bf16, fp16 or fp32, all of one dtype. All ranks launch it in the same order, for the same T; it waits for them.
    """
    out = torch.empty_like(residual)
    _launch(shares, residual, weight, eps, out)
    return out


def sum_rms_norm_fp8(shares: Shares, residual: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Does `sum_rms_norm` and `fp8.quantize_tokens` in one pass."""
    out, scales = build_quantized(residual.shape[0], residual.shape[1], residual.device)
    _launch(shares, residual, weight, eps, out, scales)
    return out, scales


def _launch(
    shares: Shares, residual: Tensor, weight: Tensor, eps: float, out: Tensor, scales: Tensor | None = None
) -> None:
    """Quantizes if there are `scales`."""
    num_tokens, hidden = residual.shape
    check_tensor("residual", residual, (None, None), FLOATS)
    check_tensor("shares", shares.own, residual.shape, (residual.dtype,))
    check_tensor("weight", weight, (hidden,), (residual.dtype,))
    ranks, block = len(shares.addresses), triton.next_power_of_2(hidden)
    if num_tokens:
        _sum_norm_kernel[(num_tokens,)](
            shares.addresses, shares.signals, residual, weight, out, out if scales is None else scales, eps,
            RANK=shares.rank, RANKS=ranks, RANK_BLOCK=triton.next_power_of_2(ranks),
            HIDDEN=hidden, BLOCK=block, QUANTIZE=scales is not None, num_warps=choose_num_warps(block),
        )  # fmt: skip


@triton.jit
def _announce(signals, RANK: tl.constexpr, RANKS: tl.constexpr, RANK_BLOCK: tl.constexpr):
    """Tells the same program of each other rank that this one is here: what ran before it has written its share.

    Relaxed: the end of the kernel that wrote it has made it visible, and a fence would wait for nothing else.
    """
    ranks = tl.arange(0, RANK_BLOCK)
    places = tl.zeros([RANK_BLOCK], tl.int64)
    for rank in tl.static_range(RANKS):
        places = tl.where(ranks == rank, signals[rank], places)
    places = places.to(tl.pointer_type(tl.int64)) + tl.program_id(0) * RANKS + RANK
    tl.atomic_add(places, 1, mask=(ranks < RANKS) & (ranks != RANK), sem="relaxed", scope="sys")


@triton.jit
def _count_slowest(own, RANK: tl.constexpr, RANKS: tl.constexpr, RANK_BLOCK: tl.constexpr):
    """Returns how often the other rank that is last has come to this program."""
    ranks = tl.arange(0, RANK_BLOCK)
    others = (ranks < RANKS) & (ranks != RANK)
    arrived = tl.atomic_add(own + ranks, 0, mask=others, sem="acquire", scope="sys")
    return tl.min(tl.where(others, arrived, MAX_COUNTED), 0)


@triton.jit
def _await(signals, RANK: tl.constexpr, RANKS: tl.constexpr, RANK_BLOCK: tl.constexpr):
    """Waits until the other ranks have come here as often as this one.

    One may have come once more: it needs no more of us.
    """
    own = signals[RANK].to(tl.pointer_type(tl.int64)) + tl.program_id(0) * RANKS
    count = tl.atomic_add(own + RANK, 1, sem="relaxed") + 1
    slowest = _count_slowest(own, RANK, RANKS, RANK_BLOCK)
    while slowest < count:
        slowest = _count_slowest(own, RANK, RANKS, RANK_BLOCK)


@triton.jit
def _load_share(address, offset, columns, valid, dtype: tl.constexpr):
    """Loads past the first-level cache, which does not see what other GPUs write."""
    row = tl.multiple_of(address.to(tl.pointer_type(dtype)), 16) + offset
    return tl.load(row + columns, mask=valid, other=0.0, cache_modifier=".cg").to(tl.float32)


@triton.jit
def _sum_norm_kernel(
    addresses, signals, residual_ptr, weight_ptr, out_ptr, scales_ptr, eps,
    RANK: tl.constexpr, RANKS: tl.constexpr, RANK_BLOCK: tl.constexpr,
    HIDDEN: tl.constexpr, BLOCK: tl.constexpr, QUANTIZE: tl.constexpr,
):  # fmt: skip
    _announce(signals, RANK, RANKS, RANK_BLOCK)
    columns = tl.arange(0, BLOCK)
    valid = columns < HIDDEN
    offset = tl.program_id(0).to(tl.int64) * HIDDEN
    residual = tl.load(residual_ptr + offset + columns, mask=valid, other=0.0)
    weight = tl.load(weight_ptr + columns, mask=valid, other=0.0)
    dtype: tl.constexpr = residual.dtype
    _await(signals, RANK, RANKS, RANK_BLOCK)
    share = _load_share(addresses[0], offset, columns, valid, dtype)
    for rank in tl.static_range(1, RANKS):
        share += _load_share(addresses[rank], offset, columns, valid, dtype)
    total = (residual.to(tl.float32) + share.to(dtype).to(tl.float32)).to(dtype)
    tl.store(residual_ptr + offset + columns, total, mask=valid)
    wide = total.to(tl.float32)
    scale = tl.rsqrt(tl.sum(wide * wide, 0) / HIDDEN + eps)
    normed = round_norm(wide, scale, weight, dtype)
    if QUANTIZE:
        store_quantized(normed.to(tl.float32), out_ptr + offset, scales_ptr + tl.program_id(0), columns, valid)
    else:
        tl.store(out_ptr + offset + columns, normed, mask=valid)
