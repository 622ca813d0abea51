"""Norm, activation, rotary and cache write: the numbers of `model/llama.py`, and nothing written for padding."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from pagoda_server.kernels.activation import silu_mul
from pagoda_server.kernels.norm import add_rms_norm, rms_norm
from pagoda_server.kernels.rope_write import build_rotary_table, rope_write
from pagoda_server.model import llama
from pagoda_server.runtime.reference.attention import write_pages

EPS = 1e-5
DTYPES = [torch.float32, torch.float16, torch.bfloat16]
TOLERANCES: dict[torch.dtype, dict[str, Any]] = {
    torch.float32: {"rtol": 1e-5, "atol": 1e-6},
    torch.float16: {"rtol": 2e-3, "atol": 1e-3},
    torch.bfloat16: {"rtol": 1.6e-2, "atol": 1e-2},
}
"""One rounding step of the dtype, where a sum in another order rounds to the neighbour."""


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("hidden", [64, 100])
def test_norm_is_the_models(hidden: int, dtype: torch.dtype, device: torch.device) -> None:
    x, weight = torch.randn((3, hidden), device=device).to(dtype), torch.randn(hidden, device=device).to(dtype)
    torch.testing.assert_close(rms_norm(x, weight, EPS), llama.rms_norm(x, weight, EPS), **TOLERANCES[dtype])


@pytest.mark.parametrize("dtype", DTYPES[:2])  # the interpreter cuts a bfloat16 off; tests/gpu has it
def test_add_norm_keeps_the_rounded_sum_as_residual(dtype: torch.dtype, device: torch.device) -> None:
    x, residual = (torch.randn((3, 100), device=device).to(dtype) for _ in range(2))
    weight, total = torch.randn(100, device=device).to(dtype), residual + x
    normed = add_rms_norm(x, residual, weight, EPS, out=x)
    torch.testing.assert_close(residual, total, rtol=0, atol=0)
    torch.testing.assert_close(normed, llama.rms_norm(total, weight, EPS), **TOLERANCES[dtype])
    assert normed is x


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [48, 1100])
def test_silu_mul_is_torchs(size: int, dtype: torch.dtype, device: torch.device) -> None:
    gate_up = (torch.randn((2, 2 * size), device=device) * 4).to(dtype)
    gate, up = gate_up.chunk(2, dim=-1)
    torch.testing.assert_close(silu_mul(gate_up), F.silu(gate) * up, **TOLERANCES[dtype])


@pytest.mark.parametrize(("heads", "kv_heads", "head_dim"), [(4, 2, 16), (9, 9, 24), (3, 1, 8)])
@pytest.mark.parametrize("with_norm", [False, True])
def test_rope_write_norms_rotates_and_stores(
    heads: int, kv_heads: int, head_dim: int, with_norm: bool, device: torch.device
) -> None:
    qkv = torch.randn((5, (heads + 2 * kv_heads) * head_dim), device=device)
    positions = torch.tensor([0, 7, 3, 31, 2], device=device)
    slots = torch.tensor([33, -1, 0, 16, 47], device=device)
    norms = tuple(torch.randn(head_dim, device=device) for _ in range(2)) if with_norm else (None, None)
    frequencies = llama.build_inverse_frequencies(head_dim, 10000.0, None).to(device)
    cos, sin = build_rotary_table(frequencies, 32)
    caches = [torch.zeros((3, 16, kv_heads, head_dim), device=device) for _ in range(4)]
    out = torch.full((5, heads, head_dim), 7.0, device=device)
    rope_write(qkv, positions.int(), slots, cos, sin, caches[0], caches[1], heads, norms[0], norms[1], EPS, out)

    angles = (positions.float()[:, None] * frequencies).repeat(1, 2)[:, None, :]
    rotary = llama.Rotary(angles.cos(), angles.sin())
    q, k, v = qkv.unflatten(1, (-1, head_dim)).split((heads, kv_heads, kv_heads), dim=1)
    if norms[0] is not None and norms[1] is not None:
        q, k = llama.rms_norm(q, norms[0], EPS), llama.rms_norm(k, norms[1], EPS)
    active = slots >= 0
    write_pages(caches[2], llama.rotate(k, rotary)[active], slots[active])
    write_pages(caches[3], v[active], slots[active])
    torch.testing.assert_close(out[active], llama.rotate(q, rotary)[active])
    torch.testing.assert_close(caches[0], caches[2])
    torch.testing.assert_close(caches[1], caches[3])
    assert bool((out[1] == 7.0).all()), "a padding token was written"
