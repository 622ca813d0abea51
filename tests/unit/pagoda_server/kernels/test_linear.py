"""Small-batch projections: torch's numbers at shapes that fill no tile, and what is fused as the passes it saves."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pagoda_server.kernels.gemv import GemvTile, gemv
from pagoda_server.kernels.invariant_linear import invariant_linear
from pagoda_server.kernels.linear import LinearTile, build_linear_scratch, choose_splits, linear, linear_fp8
from pagoda_server.model import llama
from pagoda_server.quant.fp8 import quantize_rows

EPS = 1e-5
EXACT: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-5}
GEMV = GemvTile(rows=2, values=64)
TILE = LinearTile(rows=16, values=32)


def draw(*shape: int, device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    scale: float = shape[-1] ** -0.25
    return (torch.randn(shape, device=device) * scale).to(dtype)


def project(
    x: Tensor,
    weight: Tensor,
    *,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    gated: bool = False,
    tile: LinearTile = TILE,
) -> Tensor:
    """By the kernel for so many rows."""
    if x.shape[0] == 1:
        return gemv(x, weight, GEMV, bias=bias, residual=residual, gated=gated)
    scratch = build_linear_scratch(weight.shape[0], x.device)
    return linear(x, weight, tile, scratch, bias=bias, gated=gated)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("rows", "columns", "size"), [(1, 33, 100), (65, 130, 32), (7, 7, 300), (1, 1, 1)])
def test_invariant_product_is_torchs(rows: int, columns: int, size: int, bias: bool, device: torch.device) -> None:
    x, weight = draw(rows, size, device=device), draw(columns, size, device=device)
    vector = draw(columns, device=device) if bias else None
    torch.testing.assert_close(invariant_linear(x, weight, vector), F.linear(x, weight, vector), **EXACT)
    torch.testing.assert_close(invariant_linear(x[-1:], weight, vector), invariant_linear(x, weight, vector)[-1:])


@pytest.mark.parametrize("rows", [1, 2, 5, 16, 33])
@pytest.mark.parametrize(("columns", "size"), [(33, 100), (16, 32), (7, 300), (1, 1)])
def test_product_is_torchs(rows: int, columns: int, size: int, device: torch.device) -> None:
    x, weight = draw(rows, size, device=device), draw(columns, size, device=device)
    bias = draw(columns, device=device)
    torch.testing.assert_close(project(x, weight), F.linear(x, weight), **EXACT)
    torch.testing.assert_close(project(x, weight, bias=bias), F.linear(x, weight, bias), **EXACT)


@pytest.mark.parametrize("rows", [1, 5, 17, 64])
@pytest.mark.parametrize(("columns", "size"), [(33, 160), (16, 32), (7, 1600)])
def test_fp8_product_is_that_of_the_rounded_numbers(rows: int, columns: int, size: int, device: torch.device) -> None:
    (values, scales), (weight, weight_scale) = (quantize_rows(draw(n, size, device=device)) for n in (rows, columns))
    bias = draw(columns, device=device)
    expected = F.linear(values.float() * scales, weight.float() * weight_scale, bias)
    scaled = (values, scales, weight, weight_scale[:, 0].contiguous(), TILE, build_linear_scratch(columns, device))
    torch.testing.assert_close(linear_fp8(*scaled, bias=bias, dtype=torch.float32), expected, **EXACT)


@pytest.mark.parametrize("rows", [1, 3])
def test_half_precision_sums_in_float32(rows: int, device: torch.device) -> None:
    x, weight = (draw(n, 2000, device=device, dtype=torch.float16) for n in (rows, 20))
    expected = (x.float() @ weight.float().t()).half()
    torch.testing.assert_close(project(x, weight), expected, rtol=1e-3, atol=1e-3)


def test_residual_grows_in_place_by_the_product(device: torch.device) -> None:
    x, weight, bias = draw(1, 90, device=device), draw(35, 90, device=device), draw(35, device=device)
    residual = draw(1, 35, device=device)
    expected = residual + F.linear(x, weight, bias)
    assert project(x, weight, bias=bias, residual=residual) is residual
    torch.testing.assert_close(residual, expected, **EXACT)


@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize("size", [40, 400])
def test_gated_is_silu_of_the_gates_times_the_ups(rows: int, size: int, device: torch.device) -> None:
    x, weight, bias = draw(rows, size, device=device), draw(2 * 19, size, device=device), draw(2 * 19, device=device)
    gate, up = F.linear(x, weight, bias).chunk(2, dim=-1)
    torch.testing.assert_close(project(x, weight, bias=bias, gated=True), F.silu(gate) * up, **EXACT)


@pytest.mark.parametrize("gated", [False, True])
def test_norm_before_the_product_is_the_models(gated: bool, device: torch.device) -> None:
    x, norm, weight = draw(1, 100, device=device) * 9, draw(100, device=device), draw(24, 100, device=device)
    expected = F.linear(llama.rms_norm(x, norm, EPS), weight)
    if gated:
        gate, up = expected.chunk(2, dim=-1)
        expected = F.silu(gate) * up
    torch.testing.assert_close(gemv(x, weight, GEMV, norm=norm, eps=EPS, gated=gated), expected, **EXACT)


@pytest.mark.parametrize("gated", [False, True])
def test_split_sums_repeat_to_the_bit_and_leave_the_scratch_ready(gated: bool, device: torch.device) -> None:
    x, weight = draw(6, 700, device=device), draw(48, 700, device=device)
    scratch = build_linear_scratch(48, device)
    scratch.partial.fill_(torch.nan)
    assert choose_splits(48, 700, TILE, scratch.num_sms)[0] > 1
    first, second = (linear(x, weight, TILE, scratch, gated=gated) for _ in range(2))
    assert torch.equal(first, second) and not first.isnan().any()
    assert not scratch.arrived.any()


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
@pytest.mark.parametrize("gated", [False, True])
def test_what_a_padding_row_holds_stays_in_its_row(gated: bool, device: torch.device) -> None:
    x, weight = draw(5, 700, device=device), draw(48, 700, device=device)
    expected = project(x, weight, gated=gated)
    x[1], x[3] = torch.nan, torch.inf
    found = project(x, weight, gated=gated)
    assert torch.equal(found[::2], expected[::2])


@pytest.mark.parametrize("width", [1, 48, 1024, 4096, 28_672])
@pytest.mark.parametrize("size", [1, 100, 1024, 14_336])
@pytest.mark.parametrize("values", [32, 128, 256])
def test_parts_cover_a_row_and_none_is_empty(width: int, size: int, values: int) -> None:
    splits, part = choose_splits(width, size, LinearTile(values=values), 132)
    assert part % values == 0 and 1 <= splits <= 16
    assert (splits - 1) * part < size <= splits * part


def test_wrong_tensors_are_named(device: torch.device) -> None:
    x, weight = draw(2, 32, device=device), draw(15, 32, device=device)
    with pytest.raises(ValueError, match="x has 2 rows; give 1 to 1"):
        gemv(x, weight, GEMV)
    with pytest.raises(ValueError, match="weight has 15 rows; a gated one"):
        project(x, weight, gated=True)
    with pytest.raises(ValueError, match="build a scratch"):
        linear(x, draw(40, 32, device=device), TILE, build_linear_scratch(16, device))
    with pytest.raises(ValueError, match="residual has shape"):
        project(x[:1], weight, residual=x)
    with pytest.raises(ValueError, match="out has shape"):
        linear(x, weight, TILE, build_linear_scratch(16, device), out=x)
