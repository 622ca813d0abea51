"""y = x · weightᵀ for one row x, with what lies around it in a decoder: the norm before, silu · up or the sum after.

Memory-bound: the weight streams once, each program takes whole rows of it, so nothing is shared between programs and
the sum has one order. No tensor cores: they would work on 15 rows of padding. The norm's scale is one number for the
row, so it multiplies the product: the weight's stream does not wait for a pass over x. That rounds less than
`norm.rms_norm` does (in float32 to the end), never more.
"""

from dataclasses import dataclass

import triton
import triton.language as tl
from torch import Tensor

from pagoda_server.kernels.arguments import check_tensor
from pagoda_server.kernels.projection import check_projection, round_output, store_output


@dataclass(frozen=True, slots=True)
class GemvTile:
    """Rows of the weight and values of each that a program takes at once, and how many such loads are under way."""

    rows: int = 4
    values: int = 1024
    num_warps: int = 4
    num_stages: int = 3


TILES = (GemvTile(4, 1024), GemvTile(8, 512))
"""To choose from by measuring."""


def gemv(
    x: Tensor,
    weight: Tensor,
    tile: GemvTile,
    *,
    bias: Tensor | None = None,
    norm: Tensor | None = None,
    eps: float = 0.0,
    residual: Tensor | None = None,
    gated: bool = False,
) -> Tensor:
    """Multiplies x [1, K] by weight [N, K] → [1, N]. In bf16, fp16 or fp32, all of one dtype.

    `norm` [K]: x is first normed (RMS, `eps`) and multiplied by it. `residual` [1, N]: y is added to it in place and it
    is returned. `gated`: the weight holds gates, then ups; [1, N / 2] comes back, silu(gate) * up.
    """
    columns = check_projection(x, weight, bias, gated, 1)
    if norm is not None:
        check_tensor("norm", norm, (x.shape[1],), (x.dtype,))
    if residual is not None:
        if gated:
            raise ValueError("residual is given and gated is set; give one of them")
        check_tensor("residual", residual, (1, columns), (x.dtype,))
    out = x.new_empty((1, columns)) if residual is None else residual
    num_stages = min(tile.num_stages, triton.cdiv(x.shape[1], tile.values))  # more would only take memory
    _gemv_kernel[(triton.cdiv(columns, tile.rows),)](
        x, weight, x if bias is None else bias, x if norm is None else norm, out, eps, columns, x.shape[1],
        BIAS=bias is not None, NORM=norm is not None, GATED=gated, ADD=residual is not None,
        ROWS=tile.rows, VALUES=tile.values, STAGES=num_stages, num_warps=tile.num_warps,
    )  # fmt: skip
    return out


@triton.jit
def _gemv_kernel(
    x_ptr, weight_ptr, bias_ptr, norm_ptr, out_ptr, eps, num_columns, size,
    BIAS: tl.constexpr, NORM: tl.constexpr, GATED: tl.constexpr, ADD: tl.constexpr,
    ROWS: tl.constexpr, VALUES: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    columns = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    valid = columns < num_columns
    values = tl.arange(0, VALUES)
    up_ptr = weight_ptr + (num_columns + columns)[:, None].to(tl.int64) * size + values[None, :]
    weight_ptr += columns[:, None].to(tl.int64) * size + values[None, :]
    # Products are summed over the threads once, after the loop.
    y = tl.zeros([ROWS, VALUES], tl.float32)
    up = tl.zeros([ROWS, VALUES], tl.float32)
    squares = tl.zeros([VALUES], tl.float32)
    for start in tl.range(0, size, VALUES, num_stages=STAGES):
        inside = start + values < size
        mask = valid[:, None] & inside[None, :]
        x = tl.load(x_ptr + start + values, mask=inside, other=0.0).to(tl.float32)
        if NORM:
            squares += x * x
            x *= tl.load(norm_ptr + start + values, mask=inside, other=0.0).to(tl.float32)
        y += tl.load(weight_ptr + start, mask=mask, other=0.0).to(tl.float32) * x[None, :]
        if GATED:
            up += tl.load(up_ptr + start, mask=mask, other=0.0).to(tl.float32) * x[None, :]
    scale = tl.rsqrt(tl.sum(squares, 0) / size + eps) if NORM else 1.0
    dtype: tl.constexpr = out_ptr.dtype.element_ty
    narrow = round_output(tl.sum(y, 1) * scale, bias_ptr, columns, valid, dtype, BIAS)
    narrow_up = narrow
    if GATED:
        narrow_up = round_output(tl.sum(up, 1) * scale, bias_ptr, num_columns + columns, valid, dtype, BIAS)
    store_output(narrow, narrow_up, out_ptr, columns, valid, GATED, ADD)
