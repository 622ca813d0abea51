"""y = x · weightᵀ whose rows do not depend on each other: the same bits alone and in any batch.

A library picks another kernel, and so another order of sums, for another number of rows. Here tile, instruction and
order along K are the same for every shape, and K is never split (He et al., "Defeating nondeterminism in LLM
inference", 2025). The price is a tile that suits neither one row nor thousands.
"""

import triton
import triton.language as tl
from torch import Tensor

from pagoda_server.kernels.arguments import FLOATS, check_tensor

TOKENS, COLUMNS = 64, 64


def invariant_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, out: Tensor | None = None) -> Tensor:
    """Multiplies x [T, K] by weight [N, K], bias [N] → [T, N]; bf16, fp16 or fp32, all of one dtype."""
    (num_tokens, size), columns = x.shape, weight.shape[0]
    check_tensor("x", x, (None, None), FLOATS)
    check_tensor("weight", weight, (None, size), (x.dtype,))
    if bias is not None:
        check_tensor("bias", bias, (columns,), (x.dtype,))
    out = x.new_empty((num_tokens, columns)) if out is None else out
    check_tensor("out", out, (num_tokens, columns), (x.dtype,))
    if num_tokens:
        _invariant_kernel[(triton.cdiv(num_tokens, TOKENS), triton.cdiv(columns, COLUMNS))](
            x, weight, x if bias is None else bias, out, num_tokens, COLUMNS=columns, SIZE=size, BIAS=bias is not None,
            BLOCK_T=TOKENS, BLOCK_N=COLUMNS, BLOCK_K=128 if x.dtype.itemsize == 2 else 32, num_warps=4, num_stages=4,
        )  # fmt: skip
    return out


@triton.jit(do_not_specialize=["num_tokens"])
def _invariant_kernel(
    x_ptr, weight_ptr, bias_ptr, out_ptr, num_tokens, COLUMNS: tl.constexpr, SIZE: tl.constexpr, BIAS: tl.constexpr,
    BLOCK_T: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """Runs on a grid (token tiles, column tiles): programs side by side share a tile of the weight, read once."""
    tokens = tl.program_id(0) * BLOCK_T + tl.arange(0, BLOCK_T)
    columns = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    values = tl.arange(0, BLOCK_K)
    present, valid = tokens < num_tokens, columns < COLUMNS
    x_ptr += tokens[:, None].to(tl.int64) * SIZE + values[None, :]
    weight_ptr += columns[:, None].to(tl.int64) * SIZE + values[None, :]
    y = tl.zeros([BLOCK_T, BLOCK_N], tl.float32)
    for start in range(0, SIZE, BLOCK_K):
        inside = start + values < SIZE
        x = tl.load(x_ptr + start, mask=present[:, None] & inside[None, :], other=0.0)
        weight = tl.load(weight_ptr + start, mask=valid[:, None] & inside[None, :], other=0.0)
        y = tl.dot(x, tl.trans(weight), y, input_precision="ieee")
    if BIAS:
        y += tl.load(bias_ptr + columns, mask=valid, other=0.0).to(tl.float32)[None, :]
    offsets = tokens[:, None].to(tl.int64) * COLUMNS + columns[None, :]
    tl.store(out_ptr + offsets, y, mask=present[:, None] & valid[None, :])
