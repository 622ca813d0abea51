"""Kernels that write and read fp8: the numbers of `quant/fp8.py`, scales folded in, and never NaN."""

import pytest
import torch
from torch import Tensor

from pagoda_server.kernels.activation import silu_mul, silu_mul_fp8
from pagoda_server.kernels.decode_attention import decode_attention
from pagoda_server.kernels.decode_plan import build_decode_plan, plan_decode
from pagoda_server.kernels.e4m3 import E4M3, LARGEST
from pagoda_server.kernels.fp8 import quantize_tokens
from pagoda_server.kernels.norm import add_rms_norm, add_rms_norm_fp8, rms_norm, rms_norm_fp8
from pagoda_server.kernels.prefill_attention import prefill_attention
from pagoda_server.kernels.rope_write import build_rotary_table, rope_write
from pagoda_server.model import llama
from pagoda_server.quant.fp8 import quantize_rows, saturate
from pagoda_server.runtime.cache import LayerCache
from pagoda_server.runtime.reference.attention import attend_pages

HALF_STEP, HALF_SUBNORMAL_STEP = 2.0**-4, 2.0**-10
SLACK = 1.001
"""Division may round the other way."""
K_SCALE, V_SCALE = 0.5, 0.25
PAGE_SIZE = 16


def check_near(found: Tensor, exact: Tensor, scale: Tensor | float) -> None:
    """found e4m3 times scale is exact, but for rounding."""
    bound = torch.maximum(exact.abs() * HALF_STEP, torch.as_tensor(scale) * HALF_SUBNORMAL_STEP) * SLACK
    assert bool(((found.float() * scale - exact).abs() <= bound).all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("hidden", [64, 100])
def test_tokens_are_quantized_as_rows_are(hidden: int, dtype: torch.dtype, device: torch.device) -> None:
    x = (torch.randn((4, hidden), device=device) * torch.tensor([[1e-3], [1.0], [300.0], [0.0]], device=device)).to(
        dtype
    )
    values, scales = quantize_tokens(x)
    torch.testing.assert_close(scales, quantize_rows(x)[1])
    check_near(values, x.float(), scales)
    assert values.float().abs().amax(1).tolist() == [LARGEST, LARGEST, LARGEST, 0.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])  # the interpreter cuts a bfloat16 off
def test_one_pass_gives_what_two_give(dtype: torch.dtype, device: torch.device) -> None:
    x, residual, gate_up = (torch.randn((3, size), device=device).to(dtype) for size in (100, 100, 200))
    weight = torch.randn(100, device=device).to(dtype)
    pairs = [
        (rms_norm_fp8(x, weight, 1e-5), rms_norm(x, weight, 1e-5)),
        (add_rms_norm_fp8(x, residual.clone(), weight, 1e-5), add_rms_norm(x, residual.clone(), weight, 1e-5)),
        (silu_mul_fp8(gate_up), silu_mul(gate_up)),
    ]
    for (values, scales), plain in pairs:
        expected, expected_scales = quantize_tokens(plain)
        assert torch.equal(values.float(), expected.float()) and torch.equal(scales, expected_scales)
    total = residual + x
    add_rms_norm_fp8(x, residual, weight, 1e-5)
    assert torch.equal(residual, total)


def write_rotated(qkv: Tensor, caches: list[Tensor], heads: int, head_dim: int, scales: tuple[float, float]) -> None:
    frequencies = llama.build_inverse_frequencies(head_dim, 10000.0, None).to(qkv.device)
    cos, sin = build_rotary_table(frequencies, 32)
    positions = torch.tensor([0, 7, 31], device=qkv.device)
    slots = torch.tensor([33, -1, 5], device=qkv.device)
    rope_write(qkv, positions, slots, cos, sin, caches[0], caches[1], heads, k_scale=scales[0], v_scale=scales[1])


def test_keys_and_values_are_written_over_their_scales(device: torch.device) -> None:
    qkv = torch.randn((3, 8 * 24), device=device)
    plain, narrow = ([torch.zeros((3, 16, 2, 24), dtype=t, device=device) for _ in "kv"] for t in (torch.float32, E4M3))
    write_rotated(qkv, plain, 4, 24, (1.0, 1.0))
    write_rotated(qkv, narrow, 4, 24, (K_SCALE, V_SCALE))
    for exact, found, scale in zip(plain, narrow, (K_SCALE, V_SCALE), strict=True):
        assert int((exact != 0).any(-1).sum()) == 4
        check_near(found, exact, scale)


def test_what_a_page_cannot_hold_becomes_its_largest(device: torch.device) -> None:
    qkv = torch.full((3, 8 * 24), 1e6, device=device)
    caches = [torch.zeros((3, 16, 2, 24), dtype=E4M3, device=device) for _ in "kv"]
    write_rotated(qkv, caches, 4, 24, (1.0, 1.0))
    assert all(bool(cache.float().isfinite().all()) for cache in caches)
    assert bool((caches[1].float()[2, 1] == LARGEST).all())


@pytest.mark.parametrize("attend", ["decode", "prefill"])
def test_attention_over_fp8_pages_multiplies_by_their_scales(attend: str, device: torch.device) -> None:
    lengths = [37, 1, 300]
    used = [-(-length // PAGE_SIZE) for length in lengths]
    k, v = (torch.randn((sum(used), PAGE_SIZE, 2, 32), device=device) for _ in "kv")
    k_cache, v_cache = saturate(k / K_SCALE), saturate(v / V_SCALE)
    table = torch.zeros((3, max(used)), dtype=torch.int32, device=device)
    pages = list(torch.randperm(sum(used), device=device).split(used))
    for row, own in enumerate(pages):
        table[row, : len(own)] = own.int()
    rows, contexts = torch.arange(3, dtype=torch.int32, device=device), torch.tensor(lengths, dtype=torch.int32)
    contexts, q = contexts.to(device), torch.randn((3, 4, 32), device=device)
    if attend == "decode":
        plan = build_decode_plan(3, 4, 2, 32, PAGE_SIZE, device)
        plan_decode(rows, contexts, plan)
        found = decode_attention(q, k_cache, v_cache, table, plan, 32**-0.5, k_scale=K_SCALE, v_scale=V_SCALE)
    else:
        starts = torch.arange(4, dtype=torch.int32, device=device)
        cached = (q, k_cache, v_cache, table, rows, starts, contexts)
        found = prefill_attention(*cached, 32**-0.5, k_scale=K_SCALE, v_scale=V_SCALE)
    expected = attend_pages(q, LayerCache(k_cache, v_cache, K_SCALE, V_SCALE), pages, [1, 1, 1], lengths)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    unquantized = attend_pages(q, LayerCache(k, v), pages, [1, 1, 1], lengths)
    assert (found - unquantized).norm() / unquantized.norm() < 0.06


def test_caches_of_other_types_are_refused_by_name(device: torch.device) -> None:
    qkv, k = torch.randn((3, 8 * 24), device=device), torch.zeros((3, 16, 2, 24), dtype=E4M3, device=device)
    with pytest.raises(ValueError, match=r"v_cache is torch.float32; give torch.float8_e4m3fn"):
        write_rotated(qkv, [k, k.float()], 4, 24, (1.0, 1.0))
    with pytest.raises(ValueError, match="k_scale is 0.0"):
        write_rotated(qkv, [k, k], 4, 24, (0.0, 1.0))
