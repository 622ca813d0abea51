"""Numbers in fp8: how far a row may move, and what never becomes NaN."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from pagoda_server.kernels.e4m3 import E4M3, LARGEST
from pagoda_server.quant.fp8 import Fp8Linear, multiply_scaled, quantize_rows, replace_linears, saturate

FINITE = st.floats(allow_nan=False, allow_infinity=False, width=32)
ROWS = st.lists(st.lists(FINITE, min_size=4, max_size=4), min_size=1, max_size=5).map(torch.tensor)
NORMAL, SUBNORMAL = 2.0**-4, 2.0**-10
"""Half a step of e4m3: relative to a normal number, and of the numbers below 2^-6."""
FLOAT32_ROUNDING = 1e-6


@given(ROWS)
@settings(deadline=None)
def test_a_value_moves_by_half_a_step_of_its_row_at_most(x: Tensor) -> None:
    values, scales = quantize_rows(x)
    assert values.dtype == E4M3 and scales.shape == (len(x), 1)
    moved = (values.double() * scales.double() - x.double()).abs()
    bound = torch.maximum(x.double().abs() * NORMAL, scales.double() * SUBNORMAL)
    assert bool((moved <= bound * (1 + FLOAT32_ROUNDING)).all())


@given(ROWS)
@settings(deadline=None)
def test_nothing_becomes_nan_and_zero_stays_zero(x: Tensor) -> None:
    values, scales = quantize_rows(x)
    assert bool(values.float().isfinite().all()) and bool((scales > 0).all() and scales.isfinite().all())
    assert bool((values.float()[x == 0] == 0).all())


@given(ROWS)
@settings(deadline=None)
def test_the_scale_of_a_row_is_its_own(x: Tensor) -> None:
    values, scales = quantize_rows(x)
    for index, row in enumerate(x):
        alone_values, alone_scales = quantize_rows(row[None])
        assert torch.equal(alone_values.float()[0], values.float()[index]) and torch.equal(
            alone_scales[0], scales[index]
        )


@pytest.mark.parametrize("value", [449.0, 1e30, float("inf")])
def test_what_is_too_large_is_the_largest(value: float) -> None:
    assert saturate(torch.tensor([value, -value])).tolist() == [LARGEST, -LARGEST]


def build_pair(bias: bool, dtype: torch.dtype) -> tuple[nn.Linear, Fp8Linear]:
    torch.manual_seed(0)
    linear = nn.Linear(64, 48, bias=bias).requires_grad_(False)
    quantized = Fp8Linear(64, 48, linear.bias, dtype)
    values, scales = quantize_rows(linear.weight)
    quantized.weight.copy_(values)
    quantized.weight_scale.copy_(scales[:, 0])
    return linear, quantized


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_quantized_projection_is_the_projection_but_for_rounding(bias: bool, dtype: torch.dtype) -> None:
    linear, quantized = build_pair(bias, dtype)
    x = torch.randn((7, 64), dtype=dtype) * torch.tensor([1e-3, 1.0, 1e3, 1.0, 2.0, 3.0, 0.0])[:, None].to(dtype)
    expected, found = linear(x.float()), quantized(x)
    assert found.dtype == dtype
    assert torch.equal(quantized(quantize_rows(x)), found)
    error = (found.float() - expected).norm(dim=-1) / expected.norm(dim=-1).clamp(min=1e-6)
    assert bool((error < 0.06).all()), error


def test_a_product_on_the_gpu_has_a_shape_that_torch_takes() -> None:
    """One token, and fewer tokens than a tile: torch checks shapes, strides and types without a GPU."""
    with FakeTensorMode():
        for num_tokens in (1, 5):
            values = torch.empty((num_tokens, 64), dtype=E4M3, device="cuda")
            scales = torch.empty((num_tokens, 1), device="cuda")
            weight = torch.empty((48, 64), dtype=E4M3, device="cuda")
            bias = torch.empty(48, dtype=torch.float16, device="cuda")
            product = multiply_scaled(values, scales, weight, torch.empty(48, device="cuda"), bias)
            assert product.shape == (num_tokens, 48) and product.dtype == torch.bfloat16


def test_every_projection_is_replaced_and_nothing_else() -> None:
    module = nn.Sequential(nn.Linear(16, 32), nn.Sequential(nn.Linear(32, 16, bias=False), nn.LayerNorm(16)))
    replace_linears(module)
    assert [type(part) for part in module.modules() if not list(part.children())] == [
        Fp8Linear,
        Fp8Linear,
        nn.LayerNorm,
    ]


@pytest.mark.parametrize(("sizes", "name"), [((24, 32), "in_features is 24"), ((32, 40), "out_features is 40")])
def test_sizes_that_tensor_cores_refuse_are_named(sizes: tuple[int, int], name: str) -> None:
    with pytest.raises(ValueError, match=name):
        Fp8Linear(*sizes, None, torch.float32)
