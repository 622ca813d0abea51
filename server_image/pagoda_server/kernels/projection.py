"""What `gemv.py` and `linear.py` share: checks of a projection y = x · weightᵀ, and what is done to y at its end.

Rounds as the passes that it saves would: y to the dtype; then silu(gate) * up as `activation.silu_mul`, or the sum with
the residual to the dtype again.
"""

import triton
import triton.language as tl
from torch import Tensor

from pagoda_server.kernels.activation import round_silu_mul
from pagoda_server.kernels.arguments import FLOATS, check_tensor


def check_projection(x: Tensor, weight: Tensor, bias: Tensor | None, gated: bool, max_rows: int) -> int:
    """Checks x [M, K], weight [N, K], bias [N]; returns the columns that come out, half of N if gated."""
    check_tensor("x", x, (None, None), FLOATS)
    check_tensor("weight", weight, (None, x.shape[1]), (x.dtype,))
    if not 0 < x.shape[0] <= max_rows:
        raise ValueError(f"x has {x.shape[0]} rows; give 1 to {max_rows}")
    width = weight.shape[0]
    if bias is not None:
        check_tensor("bias", bias, (width,), (x.dtype,))
    if gated and width % 2:
        raise ValueError(f"weight has {width} rows; a gated one has an even number, gates then ups")
    return width // 2 if gated else width


@triton.jit
def round_output(y, bias_ptr, columns, valid, dtype: tl.constexpr, BIAS: tl.constexpr):
    """Rounds y, its first axis the columns, with their bias, to the dtype. `bias_ptr` is not read without BIAS."""
    if BIAS:
        bias = tl.load(bias_ptr + columns, mask=valid, other=0.0).to(tl.float32)
        y += bias if len(y.shape) == 1 else bias[:, None]
    return y.to(dtype)


@triton.jit
def store_output(y, up, out_ptr, offsets, valid, GATED: tl.constexpr, ADD: tl.constexpr):
    """Stores a result; `up` is read if GATED, what lies at `out_ptr` if ADD. Each place belongs to one program."""
    if GATED:
        tl.store(out_ptr + offsets, round_silu_mul(y, up), mask=valid)
    elif ADD:
        total = tl.load(out_ptr + offsets, mask=valid, other=0.0).to(tl.float32) + y.to(tl.float32)
        tl.store(out_ptr + offsets, total, mask=valid)
    else:
        tl.store(out_ptr + offsets, y, mask=valid)
