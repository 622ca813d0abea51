"""y = x · weightᵀ for up to 64 rows x on tensor cores, split along K, with silu · up after it.

Memory-bound: the weight streams once. It is the left operand (its rows fill the tile's many rows), x padded to 16 or
64 the right one. In fp8 both stay so up to the tensor cores, and the sum is scaled. A weight of few rows does not fill
the GPU, so each row is cut into `splits` parts, one per program; each leaves its sum in scratch, and the program that
arrives last adds the parts in their order. So the result is the same whoever is last, and no second launch is needed.
"""

from dataclasses import dataclass
from itertools import chain

import torch
import triton
import triton.language as tl
from torch import Tensor

from pagoda_server.kernels.arguments import check_tensor
from pagoda_server.kernels.arrival import arrive
from pagoda_server.kernels.decode_plan import count_sms
from pagoda_server.kernels.e4m3 import E4M3
from pagoda_server.kernels.projection import check_projection, round_output, store_output

MIN_ROWS, MAX_ROWS = 16, 64
"""Rows of x that the tile is padded to."""
MAX_SPLITS = 16


@dataclass(frozen=True, slots=True)
class LinearTile:
    """Rows and values of the weight that a program takes at once; `programs` of them are wanted on each SM."""

    rows: int = 64
    values: int = 128
    num_warps: int = 4
    num_stages: int = 4
    programs: int = 2

    def count_shared_bytes(self, tokens: int, itemsize: int, *, gated: bool) -> int:
        """Counts a program's: a tile of the weight, two if it is gated, and one of x, for each stage."""
        return self.num_stages * ((2 if gated else 1) * self.rows + tokens) * self.values * itemsize


TILES = {
    MIN_ROWS: (LinearTile(64, 128, num_stages=4), LinearTile(32, 256, num_stages=3, programs=3)),
    MAX_ROWS: (LinearTile(64, 128, num_stages=3), LinearTile(64, 64, num_stages=4)),
}
FP8_TILES = {
    MIN_ROWS: (LinearTile(64, 256, num_stages=4), LinearTile(64, 128, num_stages=6)),
    MAX_ROWS: (LinearTile(64, 256, num_stages=3), LinearTile(64, 128, num_stages=6)),
}
"""To choose from by measuring, by what x is padded to. Of those that are not gated, `programs` fit a Hopper's SM."""


@dataclass(frozen=True, slots=True)
class LinearScratch:
    """One for all projections of an engine: they run one after the other."""

    partial: Tensor
    """[floats] float32: sums of parts, [parts, MAX_ROWS, rows of the weight] of the projection that runs."""
    arrived: Tensor
    """[blocks] int32: programs that have left their sum; 0 between launches."""
    num_sms: int


def pad_tokens(num_tokens: int) -> int:
    return MIN_ROWS if num_tokens <= MIN_ROWS else MAX_ROWS


def list_tiles(num_tokens: int, device: torch.device, dtype: torch.dtype) -> list[LinearTile]:
    """Lists those for so many rows of x that this GPU's shared memory holds, gated too; the driver keeps 1 KiB."""
    tokens = pad_tokens(num_tokens)
    tiles = (FP8_TILES if dtype == E4M3 else TILES)[tokens]
    if device.type != "cuda":
        return list(tiles)
    shared_bytes = torch.cuda.get_device_properties(device).shared_memory_per_multiprocessor - 1024
    return [tile for tile in tiles if tile.count_shared_bytes(tokens, dtype.itemsize, gated=True) <= shared_bytes]


def build_linear_scratch(widest: int, device: torch.device) -> LinearScratch:
    """Allocates for all tiles and weights of at most `widest` rows: 256 bytes for each, or for 256 per SM if fewer."""
    num_sms, tiles = count_sms(device), chain(*TILES.values(), *FP8_TILES.values())
    rows = max(widest, num_sms * max(tile.programs * tile.rows for tile in tiles))
    return LinearScratch(
        partial=torch.empty(MAX_ROWS * rows, dtype=torch.float32, device=device),
        arrived=torch.zeros(triton.cdiv(widest, 16), dtype=torch.int32, device=device),
        num_sms=num_sms,
    )


def choose_splits(width: int, size: int, tile: LinearTile, num_sms: int) -> tuple[int, int]:
    """Returns (parts of a row, values of each) for a weight [width, size].

    As many parts as fill the GPU once, since a second round of few programs would take as long as the first; of whole
    tiles and at least two, and none empty. A gated program takes the rows of two.
    """
    tiles = triton.cdiv(size, tile.values)
    wanted = max(1, tile.programs * num_sms // triton.cdiv(width, tile.rows))
    each = max(min(2, tiles), triton.cdiv(tiles, min(wanted, MAX_SPLITS)))
    return triton.cdiv(tiles, each), each * tile.values


def linear(
    x: Tensor,
    weight: Tensor,
    tile: LinearTile,
    scratch: LinearScratch,
    *,
    bias: Tensor | None = None,
    gated: bool = False,
    out: Tensor | None = None,
) -> Tensor:
    """Multiplies x [M, K] of at most 64 rows by weight [N, K] → [M, N]. In bf16, fp16 or fp32, all of one dtype.

    `gated`: the weight holds gates, then ups; [M, N / 2] comes back, silu(gate) * up. `out`: where y goes if given.
    """
    columns = check_projection(x, weight, bias, gated, MAX_ROWS)
    return _launch(x, weight, None, tile, scratch, bias, columns, x.dtype, out)


def linear_fp8(
    values: Tensor,
    scales: Tensor,
    weight: Tensor,
    weight_scale: Tensor,
    tile: LinearTile,
    scratch: LinearScratch,
    *,
    bias: Tensor | None = None,
    dtype: torch.dtype,
    out: Tensor | None = None,
) -> Tensor:
    """Multiplies values [M, K] of at most 64 rows by weight [N, K], both e4m3 → [M, N].

    Their scales are [M, 1] and weight_scale [N]. `dtype`: of y, of the bias and of `out`, where y goes if it is given.
    """
    check_tensor("values", values, (None, None), (E4M3,))
    rows, width = values.shape[0], weight.shape[0]
    if not 0 < rows <= MAX_ROWS:
        raise ValueError(f"values has {rows} rows; give 1 to {MAX_ROWS}")
    check_tensor("scales", scales, (rows, 1), (torch.float32,))
    check_tensor("weight", weight, (None, values.shape[1]), (E4M3,))
    check_tensor("weight_scale", weight_scale, (width,), (torch.float32,))
    if bias is not None:
        check_tensor("bias", bias, (width,), (dtype,))
    return _launch(values, weight, (scales, weight_scale), tile, scratch, bias, width, dtype, out)


def _launch(
    x: Tensor,
    weight: Tensor,
    scales: tuple[Tensor, Tensor] | None,
    tile: LinearTile,
    scratch: LinearScratch,
    bias: Tensor | None,
    columns: int,
    dtype: torch.dtype,
    out: Tensor | None,
) -> Tensor:
    """Launches for `columns` that come out, half of the weight's rows if it is gated."""
    width, size = weight.shape
    out = torch.empty((x.shape[0], columns), dtype=dtype, device=x.device) if out is None else out
    check_tensor("out", out, (x.shape[0], columns), (dtype,))
    tokens = pad_tokens(x.shape[0])
    splits, part = choose_splits(width, size, tile, scratch.num_sms)
    blocks = triton.cdiv(columns, tile.rows)
    if splits * tokens * width > scratch.partial.numel() or blocks > scratch.arrived.numel():
        raise ValueError(f"weight has {width} rows in {splits} parts; build a scratch for as many")
    x_scales, weight_scales = (x, x) if scales is None else scales
    _linear_kernel[(blocks, splits)](
        x, weight, x_scales, weight_scales, x if bias is None else bias, out, scratch.partial, scratch.arrived,
        x.shape[0], columns, size, part,
        BIAS=bias is not None, GATED=columns < width, SPLIT=splits > 1, SCALED=scales is not None,
        ROWS=tile.rows, VALUES=tile.values, TOKENS=tokens, num_warps=tile.num_warps, num_stages=tile.num_stages,
    )  # fmt: skip
    return out


@triton.jit
def _sum_parts(partial_ptr, offsets, mask, count, stride, ROWS: tl.constexpr, TOKENS: tl.constexpr):
    """Sums the parts in their order."""
    total = tl.zeros([ROWS, TOKENS], tl.float32)
    for index in range(count):
        total += tl.load(partial_ptr + index * stride + offsets, mask=mask, other=0.0, cache_modifier=".cg")
    return total


@triton.jit(do_not_specialize=["num_tokens"])
def _linear_kernel(
    x_ptr, weight_ptr, x_scales_ptr, weight_scales_ptr, bias_ptr, out_ptr, partial_ptr, arrived_ptr,
    num_tokens, num_columns, size, part,
    BIAS: tl.constexpr, GATED: tl.constexpr, SPLIT: tl.constexpr, SCALED: tl.constexpr,
    ROWS: tl.constexpr, VALUES: tl.constexpr, TOKENS: tl.constexpr,
):  # fmt: skip
    """Runs on a grid (blocks of columns, parts of K)."""
    columns = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    tokens, values = tl.arange(0, TOKENS), tl.arange(0, VALUES)
    valid, present = columns < num_columns, tokens < num_tokens
    x_ptr += tokens[:, None] * size + values[None, :]
    up_ptr = weight_ptr + (num_columns + columns)[:, None].to(tl.int64) * size + values[None, :]
    weight_ptr += columns[:, None].to(tl.int64) * size + values[None, :]
    y = tl.zeros([ROWS, TOKENS], tl.float32)
    up = tl.zeros([ROWS, TOKENS], tl.float32)
    first = tl.program_id(1) * part
    for start in range(first, tl.minimum(first + part, size), VALUES):
        inside = start + values < size
        x = tl.trans(tl.load(x_ptr + start, mask=present[:, None] & inside[None, :], other=0.0))
        mask = valid[:, None] & inside[None, :]
        y = tl.dot(tl.load(weight_ptr + start, mask=mask, other=0.0), x, y, input_precision="ieee")
        if GATED:
            up = tl.dot(tl.load(up_ptr + start, mask=mask, other=0.0), x, up, input_precision="ieee")

    mask = valid[:, None] & present[None, :]
    if SPLIT:
        width = num_columns * 2 if GATED else num_columns
        offsets = tokens[None, :] * width + columns[:, None]
        own_ptr = partial_ptr + tl.program_id(1) * (TOKENS * width)
        tl.store(own_ptr + offsets, y, mask=mask)
        if GATED:
            tl.store(own_ptr + num_columns + offsets, up, mask=mask)
        is_last = arrive(arrived_ptr + tl.program_id(0), tl.num_programs(1))
        mask = mask & is_last
        count = tl.where(is_last, tl.num_programs(1), 0)
        y = _sum_parts(partial_ptr, offsets, mask, count, TOKENS * width, ROWS, TOKENS)
        if GATED:
            up = _sum_parts(partial_ptr + num_columns, offsets, mask, count, TOKENS * width, ROWS, TOKENS)

    if SCALED:
        y *= tl.load(weight_scales_ptr + columns, mask=valid, other=0.0)[:, None]
        y *= tl.load(x_scales_ptr + tokens, mask=present, other=0.0)[None, :]
    dtype: tl.constexpr = out_ptr.dtype.element_ty
    narrow = round_output(y, bias_ptr, columns, valid, dtype, BIAS)
    narrow_up = narrow
    if GATED:
        narrow_up = round_output(up, bias_ptr, num_columns + columns, valid, dtype, BIAS)
    store_output(narrow, narrow_up, out_ptr, tokens[None, :] * num_columns + columns[:, None], mask, GATED, False)
