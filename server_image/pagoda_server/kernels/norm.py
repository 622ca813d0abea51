"""RMS norm, alone and fused with the residual sum before it. Memory-bound: one program per row, one pass.

Rounds as `pagoda_server.model.llama.rms_norm` does: float32 inside, the normed value to the activations' dtype, then
its product with the weight to that dtype again (Zhang and Sennrich, "Root mean square layer normalization", 2019).
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from pagoda_server.kernels.arguments import FLOATS, check_tensor, choose_num_warps
from pagoda_server.kernels.fp8 import build_quantized, store_quantized


def rms_norm(x: Tensor, weight: Tensor, eps: float, out: Tensor | None = None) -> Tensor:
    """Norms x [T, hidden] with weight [hidden] of x's dtype → [T, hidden]. `out` may be x."""
    out = _check(x, weight, out)
    _launch(x, x, weight, eps, out, add=False)
    return out


def add_rms_norm(x: Tensor, residual: Tensor, weight: Tensor, eps: float, out: Tensor | None = None) -> Tensor:
    """Adds x to residual in place and returns the norm of the sum. x and residual [T, hidden]; `out` may be x."""
    out = _check(x, weight, out)
    check_tensor("residual", residual, x.shape, (x.dtype,))
    _launch(x, residual, weight, eps, out, add=True)
    return out


def rms_norm_fp8(x: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Does `rms_norm` and `fp8.quantize_tokens` in one pass."""
    _check(x, weight, x)
    out, scales = build_quantized(x.shape[0], x.shape[1], x.device)
    _launch(x, x, weight, eps, out, scales, add=False)
    return out, scales


def add_rms_norm_fp8(x: Tensor, residual: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Does `add_rms_norm` and `fp8.quantize_tokens` in one pass."""
    _check(x, weight, x)
    check_tensor("residual", residual, x.shape, (x.dtype,))
    out, scales = build_quantized(x.shape[0], x.shape[1], x.device)
    _launch(x, residual, weight, eps, out, scales, add=True)
    return out, scales


def _check(x: Tensor, weight: Tensor, out: Tensor | None) -> Tensor:
    check_tensor("x", x, (None, None), FLOATS)
    check_tensor("weight", weight, (x.shape[1],), (x.dtype,))
    out = torch.empty_like(x) if out is None else out
    check_tensor("out", out, x.shape, (x.dtype,))
    return out


def _launch(
    x: Tensor, residual: Tensor, weight: Tensor, eps: float, out: Tensor, scales: Tensor | None = None, *, add: bool
) -> None:
    """Quantizes if there are `scales`."""
    num_tokens, hidden = x.shape
    block = triton.next_power_of_2(hidden)
    if num_tokens:
        _norm_kernel[(num_tokens,)](
            x, residual, weight, out, out if scales is None else scales, eps,
            HIDDEN=hidden, BLOCK=block, ADD=add, QUANTIZE=scales is not None,
            num_warps=choose_num_warps(block),
        )  # fmt: skip


@triton.jit
def round_norm(wide, scale, weight, dtype: tl.constexpr):
    """Returns `weight * (wide * scale)` with the reference's two roundings; two narrow floats' product is exact."""
    return (weight.to(tl.float32) * (wide * scale).to(dtype).to(tl.float32)).to(dtype)


@triton.jit
def _norm_kernel(
    x_ptr, residual_ptr, weight_ptr, out_ptr, scales_ptr, eps,
    HIDDEN: tl.constexpr, BLOCK: tl.constexpr, ADD: tl.constexpr, QUANTIZE: tl.constexpr,
):  # fmt: skip
    columns = tl.arange(0, BLOCK)
    valid = columns < HIDDEN
    offset = tl.program_id(0).to(tl.int64) * HIDDEN
    x = tl.load(x_ptr + offset + columns, mask=valid, other=0.0)
    if ADD:
        residual = tl.load(residual_ptr + offset + columns, mask=valid, other=0.0)
        x = (residual.to(tl.float32) + x.to(tl.float32)).to(x.dtype)
        tl.store(residual_ptr + offset + columns, x, mask=valid)
    wide = x.to(tl.float32)
    scale = tl.rsqrt(tl.sum(wide * wide, 0) / HIDDEN + eps)
    weight = tl.load(weight_ptr + columns, mask=valid, other=0.0)
    normed = round_norm(wide, scale, weight, x.dtype)
    if QUANTIZE:
        store_quantized(normed.to(tl.float32), out_ptr + offset, scales_ptr + tl.program_id(0), columns, valid)
    else:
        tl.store(out_ptr + offset + columns, normed, mask=valid)
