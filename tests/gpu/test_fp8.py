"""fp8 on a GPU: the tensor cores' product and the kernels' conversions against the same numbers in float32."""

import pytest
import torch
from torch import Tensor

if not torch.cuda.is_available():  # before the kernels load: they would, without the interpreter the unit tests need
    pytest.skip("needs a CUDA GPU", allow_module_level=True)

from pagoda_server.kernels.activation import silu_mul, silu_mul_fp8
from pagoda_server.kernels.decode_attention import decode_attention
from pagoda_server.kernels.decode_plan import build_decode_plan, plan_decode
from pagoda_server.kernels.e4m3 import E4M3, LARGEST
from pagoda_server.kernels.fp8 import quantize_tokens
from pagoda_server.kernels.norm import add_rms_norm, add_rms_norm_fp8, rms_norm, rms_norm_fp8
from pagoda_server.kernels.prefill_attention import prefill_attention
from pagoda_server.kernels.rope_write import rope_write
from pagoda_server.quant.fp8 import Fp8Linear, quantize_rows, saturate
from pagoda_server.runtime.cache import LayerCache
from pagoda_server.runtime.reference.attention import attend_pages

pytestmark = pytest.mark.gpu
DEVICE, BF16 = torch.device("cuda"), torch.bfloat16
PAGE_SIZE = 64
PROJECTIONS = [(4096, 6144), (4096, 4096), (4096, 28672), (14336, 4096)]
"""Llama-3.1-8B."""


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def measure_error(found: Tensor, expected: Tensor) -> float:
    return float((found.float() - expected.float()).norm() / expected.float().norm())


@pytest.mark.parametrize("tokens", [1, 5, 16, 256, 2048])
@pytest.mark.parametrize(("size_in", "size_out"), PROJECTIONS)
@pytest.mark.parametrize("bias", [False, True])
def test_the_product_is_that_of_the_rounded_numbers(size_in: int, size_out: int, tokens: int, bias: bool) -> None:
    x, weight = torch.randn((tokens, size_in), device=DEVICE).to(BF16), torch.randn((size_out, size_in), device=DEVICE)
    vector = torch.nn.Parameter(torch.randn(size_out, device=DEVICE).to(BF16), requires_grad=False) if bias else None
    with DEVICE:
        linear = Fp8Linear(size_in, size_out, vector, BF16)
    values, scales = quantize_rows(weight)
    linear.weight.copy_(values)
    linear.weight_scale.copy_(scales[:, 0])
    rounded, row_scales = quantize_rows(x)
    expected = (rounded.float() * row_scales) @ (values.float() * scales).t() + (0 if vector is None else vector)
    found = linear(x)
    assert found.dtype == BF16 and measure_error(found, expected) < 1e-2
    assert torch.equal(linear(quantize_tokens(x)), found)


@pytest.mark.parametrize("tokens", [1, 256])
@pytest.mark.parametrize("hidden", [1024, 4096, 14336])
def test_one_pass_gives_what_two_give(hidden: int, tokens: int) -> None:
    x, residual = (torch.randn((tokens, hidden), dtype=BF16, device=DEVICE) for _ in range(2))
    gate_up, weight = torch.randn((tokens, 2 * hidden), dtype=BF16, device=DEVICE), torch.randn(hidden, device=DEVICE)
    weight = weight.to(BF16)
    pairs = [
        (rms_norm_fp8(x, weight, 1e-5), rms_norm(x, weight, 1e-5)),
        (add_rms_norm_fp8(x, residual.clone(), weight, 1e-5), add_rms_norm(x, residual.clone(), weight, 1e-5)),
        (silu_mul_fp8(gate_up), silu_mul(gate_up)),
    ]
    for (values, scales), plain in pairs:
        assert measure_error(values.float() * scales, plain) < 0.04
        torch.testing.assert_close(scales, quantize_rows(plain)[1], rtol=1e-2, atol=0)


@pytest.mark.parametrize("attend", ["decode", "prefill"])
@pytest.mark.parametrize(("heads", "kv_heads", "head_dim"), [(32, 8, 128), (14, 2, 64), (12, 4, 96), (16, 1, 256)])
def test_attention_over_fp8_pages(heads: int, kv_heads: int, head_dim: int, attend: str) -> None:
    lengths, k_scale, v_scale = [1, 64, 1000, 5000], 0.5, 0.25
    used = [-(-length // PAGE_SIZE) for length in lengths]
    shape = (sum(used), PAGE_SIZE, kv_heads, head_dim)
    k_cache, v_cache = (saturate(torch.randn(shape, device=DEVICE) / scale) for scale in (k_scale, v_scale))
    table = torch.zeros((len(lengths), max(used)), dtype=torch.int32, device=DEVICE)
    pages = list(torch.randperm(sum(used), device=DEVICE).split(used))
    for row, own in enumerate(pages):
        table[row, : len(own)] = own.int()
    rows = torch.arange(len(lengths), dtype=torch.int32, device=DEVICE)
    contexts = torch.tensor(lengths, dtype=torch.int32, device=DEVICE)
    q, scale = torch.randn((len(lengths), heads, head_dim), dtype=BF16, device=DEVICE), head_dim**-0.5
    if attend == "decode":
        plan = build_decode_plan(len(lengths), heads, kv_heads, head_dim, PAGE_SIZE, DEVICE)
        plan_decode(rows, contexts, plan)
        found = decode_attention(q, k_cache, v_cache, table, plan, scale, k_scale=k_scale, v_scale=v_scale)
    else:
        starts = torch.arange(len(lengths) + 1, dtype=torch.int32, device=DEVICE)
        found = prefill_attention(
            q, k_cache, v_cache, table, rows, starts, contexts, scale, k_scale=k_scale, v_scale=v_scale
        )
    cache = LayerCache(k_cache, v_cache, k_scale, v_scale)
    expected = attend_pages(q.float(), cache, pages, [1] * len(lengths), lengths)
    assert measure_error(found, expected) < 1e-2


def test_what_a_page_cannot_hold_becomes_its_largest() -> None:
    qkv = torch.full((3, 48 * 128), 1e6, dtype=BF16, device=DEVICE)
    caches = [torch.zeros((1, PAGE_SIZE, 8, 128), dtype=E4M3, device=DEVICE) for _ in "kv"]
    cos, sin = torch.ones((4, 64), device=DEVICE), torch.zeros((4, 64), device=DEVICE)
    positions = torch.arange(3, device=DEVICE)
    rope_write(qkv, positions, positions, cos, sin, caches[0], caches[1], 32)
    for cache in caches:
        assert bool((cache.float()[0, :3] == LARGEST).all()) and not bool(cache.float()[0, 3:].any())
