"""silu(gate) * up of the merged projection. Memory-bound. Rounds as torch does: silu to the dtype, then the product."""

import triton
import triton.language as tl
from torch import Tensor

from pagoda_server.kernels.arguments import FLOATS, check_tensor, choose_num_warps
from pagoda_server.kernels.fp8 import build_quantized, store_quantized

BLOCK = 1024


def silu_mul(gate_up: Tensor, out: Tensor | None = None) -> Tensor:
    """Computes gate_up [T, 2 * intermediate], gates first → [T, intermediate]."""
    num_tokens, size = _check(gate_up)
    out = gate_up.new_empty((num_tokens, size)) if out is None else out
    check_tensor("out", out, (num_tokens, size), (gate_up.dtype,))
    if num_tokens:
        _silu_mul_kernel[(num_tokens * triton.cdiv(size, BLOCK),)](gate_up, out, SIZE=size, BLOCK=BLOCK, num_warps=4)
    return out


def silu_mul_fp8(gate_up: Tensor) -> tuple[Tensor, Tensor]:
    """Does `silu_mul` and `fp8.quantize_tokens` in one pass: one program per token, its values in registers."""
    num_tokens, size = _check(gate_up)
    out, scales = build_quantized(num_tokens, size, gate_up.device)
    block = triton.next_power_of_2(size)
    if num_tokens:
        _silu_mul_fp8_kernel[(num_tokens,)](
            gate_up, out, scales, SIZE=size, BLOCK=block, num_warps=choose_num_warps(block, maximum=32)
        )
    return out, scales


def _check(gate_up: Tensor) -> tuple[int, int]:
    """Returns tokens and columns of the product."""
    check_tensor("gate_up", gate_up, (None, None), FLOATS)
    if gate_up.shape[1] % 2:
        raise ValueError(f"gate_up has {gate_up.shape[1]} columns; give an even number, gates then ups")
    return gate_up.shape[0], gate_up.shape[1] // 2


@triton.jit
def round_silu_mul(gate, up):
    """Returns silu(gate) rounded to the dtype, times up, in float32."""
    wide = gate.to(tl.float32)
    silu = (wide / (1.0 + tl.exp(-wide))).to(gate.dtype)
    return silu.to(tl.float32) * up.to(tl.float32)


@triton.jit
def _multiply(gate_up_ptr, columns, valid, SIZE: tl.constexpr):
    """Does `round_silu_mul` for a token's columns."""
    gate = tl.load(gate_up_ptr + columns, mask=valid, other=0.0)
    up = tl.load(gate_up_ptr + SIZE + columns, mask=valid, other=0.0)
    return round_silu_mul(gate, up)


@triton.jit
def _silu_mul_fp8_kernel(gate_up_ptr, out_ptr, scales_ptr, SIZE: tl.constexpr, BLOCK: tl.constexpr):
    columns, token = tl.arange(0, BLOCK), tl.program_id(0).to(tl.int64)
    valid = columns < SIZE
    product = _multiply(gate_up_ptr + token * (2 * SIZE), columns, valid, SIZE).to(gate_up_ptr.dtype.element_ty)
    store_quantized(product.to(tl.float32), out_ptr + token * SIZE, scales_ptr + token, columns, valid)


@triton.jit
def _silu_mul_kernel(gate_up_ptr, out_ptr, SIZE: tl.constexpr, BLOCK: tl.constexpr):
    blocks: tl.constexpr = (SIZE + BLOCK - 1) // BLOCK
    columns = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    token = (tl.program_id(0) // blocks).to(tl.int64)
    valid = columns < SIZE
    product = _multiply(gate_up_ptr + token * (2 * SIZE), columns, valid, SIZE)
    tl.store(out_ptr + token * SIZE + columns, product, mask=valid)
