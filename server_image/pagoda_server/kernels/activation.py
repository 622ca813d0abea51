"""silu(gate) * up of the merged projection. Memory-bound. Rounds as torch does: silu to the dtype, then the product."""

import triton
import triton.language as tl
from torch import Tensor

from pagoda_server.kernels.arguments import FLOATS, check_tensor

BLOCK = 1024


def silu_mul(gate_up: Tensor, out: Tensor | None = None) -> Tensor:
    """gate_up [T, 2 * intermediate], gates first → [T, intermediate]."""
    check_tensor("gate_up", gate_up, (None, None), FLOATS)
    num_tokens, size = gate_up.shape[0], gate_up.shape[1] // 2
    if gate_up.shape[1] % 2:
        raise ValueError(f"gate_up has {gate_up.shape[1]} columns; give an even number, gates then ups")
    out = gate_up.new_empty((num_tokens, size)) if out is None else out
    check_tensor("out", out, (num_tokens, size), (gate_up.dtype,))
    if num_tokens:
        _silu_mul_kernel[(num_tokens * triton.cdiv(size, BLOCK),)](gate_up, out, SIZE=size, BLOCK=BLOCK, num_warps=4)
    return out


@triton.jit
def round_silu_mul(gate, up):
    """silu(gate) to the dtype, then its product with up, in float32."""
    wide = gate.to(tl.float32)
    silu = (wide / (1.0 + tl.exp(-wide))).to(gate.dtype)
    return silu.to(tl.float32) * up.to(tl.float32)


@triton.jit
def _silu_mul_kernel(gate_up_ptr, out_ptr, SIZE: tl.constexpr, BLOCK: tl.constexpr):
    blocks: tl.constexpr = (SIZE + BLOCK - 1) // BLOCK
    columns = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    token = (tl.program_id(0) // blocks).to(tl.int64)
    valid = columns < SIZE
    gate = tl.load(gate_up_ptr + token * (2 * SIZE) + columns, mask=valid, other=0.0)
    up = tl.load(gate_up_ptr + token * (2 * SIZE) + SIZE + columns, mask=valid, other=0.0)
    tl.store(out_ptr + token * SIZE + columns, round_silu_mul(gate, up), mask=valid)
