"""Activations to fp8 with a scale for each token, as they go into a product of fp8 tensor cores. Memory-bound.

One program per token: its values stay in registers between the largest and the division. Rounds as
`pagoda_server.quant.fp8.quantize_rows` does: to the nearest, and never above 448, which e4m3 would make NaN.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from pagoda_server.kernels import e4m3
from pagoda_server.kernels.arguments import FLOATS, check_tensor, choose_num_warps

LARGEST: tl.constexpr = tl.constexpr(e4m3.LARGEST)
LARGEST_FP16: tl.constexpr = tl.constexpr(65504.0)
SMALLEST_SCALE: tl.constexpr = tl.constexpr(e4m3.SMALLEST_SCALE)


def quantize_tokens(x: Tensor, out: Tensor | None = None, scales: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Quantizes x [T, hidden] → values [T, hidden] e4m3 and scales [T, 1] float32, x ≈ values * scales."""
    check_tensor("x", x, (None, None), FLOATS)
    num_tokens, hidden = x.shape
    out, scales = build_quantized(num_tokens, hidden, x.device, out, scales)
    block = triton.next_power_of_2(hidden)
    if num_tokens:
        _quantize_kernel[(num_tokens,)](x, out, scales, HIDDEN=hidden, BLOCK=block, num_warps=choose_num_warps(block))
    return out, scales


def build_quantized(
    num_tokens: int, hidden: int, device: torch.device, out: Tensor | None = None, scales: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Returns what is given, or new: values [T, hidden] e4m3 and scales [T, 1] float32."""
    out = torch.empty((num_tokens, hidden), dtype=e4m3.E4M3, device=device) if out is None else out
    scales = torch.empty((num_tokens, 1), dtype=torch.float32, device=device) if scales is None else scales
    check_tensor("out", out, (num_tokens, hidden), (e4m3.E4M3,))
    check_tensor("scales", scales, (num_tokens, 1), (torch.float32,))
    return out, scales


@triton.jit
def saturate(wide):
    """Converts float32 to e4m3."""
    return tl.minimum(tl.maximum(wide, -LARGEST), LARGEST).to(tl.float8e4nv)


@triton.jit
def to_fp16(x):
    """Converts to fp16, what is too large to its largest.

    It holds all e4m3 numbers, and one instruction makes two of them.
    """
    return tl.minimum(tl.maximum(x, -LARGEST_FP16), LARGEST_FP16).to(tl.float16)


@triton.jit
def store_quantized(wide, out_ptr, scale_ptr, columns, valid):
    """Stores a token's values, float32 and 0 where not valid, with its scale."""
    scale = tl.maximum(tl.max(tl.abs(wide), 0) / LARGEST, SMALLEST_SCALE)
    tl.store(scale_ptr, scale)
    tl.store(out_ptr + columns, saturate(wide / scale), mask=valid)


@triton.jit
def _quantize_kernel(x_ptr, out_ptr, scales_ptr, HIDDEN: tl.constexpr, BLOCK: tl.constexpr):
    columns = tl.arange(0, BLOCK)
    valid = columns < HIDDEN
    token = tl.program_id(0).to(tl.int64)
    wide = tl.load(x_ptr + token * HIDDEN + columns, mask=valid, other=0.0).to(tl.float32)
    store_quantized(wide, out_ptr + token * HIDDEN, scales_ptr + token, columns, valid)
