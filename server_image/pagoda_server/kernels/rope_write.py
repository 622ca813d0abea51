"""From the merged projection to attention's inputs, in one pass: q/k norm (Qwen3), rotary embedding, cache write.

Memory-bound. Rotates by halves (Su et al., "RoFormer", 2021; the half-split order of GPT-NeoX and Llama) in float32
and rounds once. Norms round as `norm.py` does. A cache in fp8 gets values over its scale, never beyond 448.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from pagoda_server.kernels.arguments import FLOATS, INDICES, check_caches, check_tensor
from pagoda_server.kernels.fp8 import saturate
from pagoda_server.kernels.norm import round_norm

BLOCK_HEADS = 8


def build_rotary_table(inverse_frequencies: Tensor, max_position: int) -> tuple[Tensor, Tensor]:
    """Computes inverse_frequencies [head_dim / 2] float32 → cos and sin, both [max_position, head_dim / 2] float32."""
    positions = torch.arange(max_position, dtype=torch.float32, device=inverse_frequencies.device)
    angles = positions[:, None] * inverse_frequencies[None, :]
    return angles.cos(), angles.sin()


def rope_write(
    qkv: Tensor,
    positions: Tensor,
    slots: Tensor,
    cos: Tensor,
    sin: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    num_heads: int,
    q_norm: Tensor | None = None,
    k_norm: Tensor | None = None,
    eps: float = 1e-6,
    out: Tensor | None = None,
    k_scale: float = 1.0,
    v_scale: float = 1.0,
) -> Tensor:
    """Turns qkv [T, (heads + 2 * kv_heads) * head_dim] into q [T, heads, head_dim]; keys and values go to their slots.

    positions and slots [T] int32 or int64, slot = page * page_size + offset; a token of slot -1 writes nothing, its q
    neither. cos and sin [max_position, head_dim / 2] float32. q_norm and k_norm [head_dim], both or none. Caches of
    qkv's dtype or e4m3: these hold keys / k_scale and values / v_scale.
    """
    num_tokens = qkv.shape[0]
    _, kv_heads, head_dim = check_caches(k_cache, v_cache, qkv.dtype)
    check_tensor("qkv", qkv, (num_tokens, (num_heads + 2 * kv_heads) * head_dim), FLOATS)
    check_tensor("positions", positions, (num_tokens,), INDICES)
    check_tensor("slots", slots, (num_tokens,), INDICES)
    check_tensor("cos", cos, (None, head_dim // 2), (torch.float32,))
    check_tensor("sin", sin, cos.shape, (torch.float32,))
    if (q_norm is None) != (k_norm is None):
        raise ValueError("q_norm and k_norm come together; give both or none")
    for name, weight in (("q_norm", q_norm), ("k_norm", k_norm)):
        if weight is not None:
            check_tensor(name, weight, (head_dim,), (qkv.dtype,))
    if k_scale <= 0.0 or v_scale <= 0.0:
        raise ValueError(f"k_scale is {k_scale} and v_scale {v_scale}; give positive numbers")
    out = qkv.new_empty((num_tokens, num_heads, head_dim)) if out is None else out
    check_tensor("out", out, (num_tokens, num_heads, head_dim), (qkv.dtype,))
    q_chunks, kv_chunks = triton.cdiv(num_heads, BLOCK_HEADS), triton.cdiv(kv_heads, BLOCK_HEADS)
    if num_tokens:
        _rope_kernel[(num_tokens * (q_chunks + 2 * kv_chunks),)](
            qkv, positions, slots, cos, sin, k_cache, v_cache, out,
            cos if q_norm is None else q_norm, cos if k_norm is None else k_norm, eps, 1.0 / k_scale, 1.0 / v_scale,
            NUM_HEADS=num_heads, KV_HEADS=kv_heads, HEAD_DIM=head_dim, NORM=q_norm is not None,
            Q_CHUNKS=q_chunks, KV_CHUNKS=kv_chunks, BLOCK_HEADS=BLOCK_HEADS,
            BLOCK_HALF=triton.next_power_of_2(head_dim // 2), num_warps=2,
        )  # fmt: skip
    return out


@triton.jit
def _store(ptr, value, inverse_scale, mask):
    """Rounds once, to what `ptr` points to."""
    if ptr.dtype.element_ty == tl.float8e4nv:
        tl.store(ptr, saturate(value.to(tl.float32) * inverse_scale), mask=mask)
    else:
        tl.store(ptr, value, mask=mask)


@triton.jit
def _rotate(
    in_ptr, out_ptr, weight_ptr, cos_ptr, sin_ptr, first_head, eps, inverse_scale,
    HEADS: tl.constexpr, HEAD_DIM: tl.constexpr, NORM: tl.constexpr,
    BLOCK_HEADS: tl.constexpr, BLOCK_HALF: tl.constexpr,
):  # fmt: skip
    """Norms and rotates BLOCK_HEADS heads of one token, [heads, head_dim] at `in_ptr`, to `out_ptr`."""
    HALF: tl.constexpr = HEAD_DIM // 2
    heads, dims = first_head + tl.arange(0, BLOCK_HEADS), tl.arange(0, BLOCK_HALF)
    valid = (heads < HEADS)[:, None] & (dims < HALF)[None, :]
    offsets = heads[:, None] * HEAD_DIM + dims[None, :]
    left = tl.load(in_ptr + offsets, mask=valid, other=0.0)
    right = tl.load(in_ptr + offsets + HALF, mask=valid, other=0.0)
    if NORM:
        wide_left, wide_right = left.to(tl.float32), right.to(tl.float32)
        scale = tl.rsqrt(tl.sum(wide_left * wide_left + wide_right * wide_right, 1) / HEAD_DIM + eps)[:, None]
        left_weight = tl.load(weight_ptr + dims, mask=dims < HALF, other=0.0)[None, :]
        right_weight = tl.load(weight_ptr + HALF + dims, mask=dims < HALF, other=0.0)[None, :]
        left = round_norm(wide_left, scale, left_weight, left.dtype)
        right = round_norm(wide_right, scale, right_weight, right.dtype)
    cos = tl.load(cos_ptr + dims, mask=dims < HALF, other=0.0)[None, :]
    sin = tl.load(sin_ptr + dims, mask=dims < HALF, other=0.0)[None, :]
    wide_left, wide_right = left.to(tl.float32), right.to(tl.float32)
    _store(out_ptr + offsets, wide_left * cos - wide_right * sin, inverse_scale, valid)
    _store(out_ptr + offsets + HALF, wide_right * cos + wide_left * sin, inverse_scale, valid)


@triton.jit
def _copy_heads(
    in_ptr, out_ptr, first_head, inverse_scale,
    HEADS: tl.constexpr, HEAD_DIM: tl.constexpr, BLOCK_HEADS: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    heads, dims = first_head + tl.arange(0, BLOCK_HEADS), tl.arange(0, BLOCK_D)
    valid = (heads < HEADS)[:, None] & (dims < HEAD_DIM)[None, :]
    offsets = heads[:, None] * HEAD_DIM + dims[None, :]
    _store(out_ptr + offsets, tl.load(in_ptr + offsets, mask=valid, other=0.0), inverse_scale, valid)


@triton.jit
def _rope_kernel(
    qkv_ptr, positions_ptr, slots_ptr, cos_ptr, sin_ptr, k_ptr, v_ptr, q_ptr, q_norm_ptr, k_norm_ptr, eps,
    inverse_k_scale, inverse_v_scale,
    NUM_HEADS: tl.constexpr, KV_HEADS: tl.constexpr, HEAD_DIM: tl.constexpr, NORM: tl.constexpr,
    Q_CHUNKS: tl.constexpr, KV_CHUNKS: tl.constexpr, BLOCK_HEADS: tl.constexpr, BLOCK_HALF: tl.constexpr,
):  # fmt: skip
    """Runs on a grid (tokens * chunks): of each token the chunks of q's heads, then k's, then v's."""
    chunks: tl.constexpr = Q_CHUNKS + 2 * KV_CHUNKS
    chunk, token = tl.program_id(0) % chunks, (tl.program_id(0) // chunks).to(tl.int64)
    slot = tl.load(slots_ptr + token).to(tl.int64)
    if slot < 0:
        return
    angle = tl.load(positions_ptr + token).to(tl.int64) * (HEAD_DIM // 2)
    cos_ptr += angle
    sin_ptr += angle
    qkv_ptr += token * ((NUM_HEADS + 2 * KV_HEADS) * HEAD_DIM)
    if chunk < Q_CHUNKS:
        _rotate(
            qkv_ptr, q_ptr + token * (NUM_HEADS * HEAD_DIM), q_norm_ptr, cos_ptr, sin_ptr, chunk * BLOCK_HEADS, eps,
            1.0, NUM_HEADS, HEAD_DIM, NORM, BLOCK_HEADS, BLOCK_HALF,
        )  # fmt: skip
    elif chunk < Q_CHUNKS + KV_CHUNKS:
        _rotate(
            qkv_ptr + NUM_HEADS * HEAD_DIM, k_ptr + slot * (KV_HEADS * HEAD_DIM), k_norm_ptr, cos_ptr, sin_ptr,
            (chunk - Q_CHUNKS) * BLOCK_HEADS, eps, inverse_k_scale, KV_HEADS, HEAD_DIM, NORM, BLOCK_HEADS, BLOCK_HALF,
        )  # fmt: skip
    else:
        _copy_heads(
            qkv_ptr + (NUM_HEADS + KV_HEADS) * HEAD_DIM, v_ptr + slot * (KV_HEADS * HEAD_DIM),
            (chunk - Q_CHUNKS - KV_CHUNKS) * BLOCK_HEADS, inverse_v_scale,
            KV_HEADS, HEAD_DIM, BLOCK_HEADS, 2 * BLOCK_HALF,
        )  # fmt: skip
