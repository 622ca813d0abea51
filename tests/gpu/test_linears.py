"""Projections of small batches on a GPU at the shapes of real models, against float32; the choice at start."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

if not torch.cuda.is_available():  # before the kernels load: they would, without the interpreter the unit tests need
    pytest.skip("needs a CUDA GPU", allow_module_level=True)

from functools import partial

from pagoda_server.kernels import gemv, linear
from pagoda_server.kernels.e4m3 import E4M3
from pagoda_server.model import llama
from pagoda_server.model.config import read_model_config
from pagoda_server.model.loader import load_model
from pagoda_server.quant.fp8 import quantize_rows
from pagoda_server.runtime.gpu.projections import ALL_FP8, ALL_TORCH
from pagoda_server.start.measure_projections import measure_projections

pytestmark = pytest.mark.gpu
DEVICE = torch.device("cuda")
MODEL = Path(__file__).parents[2] / "server_image" / "sample_model" / "pagoda-tiny"
DTYPES = [torch.bfloat16, torch.float16]
WEIGHTS = [
    (4096, 1024),
    (1024, 2048),
    (1024, 3072),
    (2048, 8192),
    (6144, 4096),
    (4096, 14336),
    (4608, 3584),
    (192, 192),
]
GATED = [(6144, 1024), (16384, 2048), (28672, 4096), (24576, 4096), (9728, 896)]
MAX_ERROR = 6e-3
"""Norm of the error over the norm of the result, of each token: bfloat16 rounds at 4e-3, once or twice."""
ROUNDS = 200
SIZES = (linear.MIN_ROWS, linear.MAX_ROWS)
TILES, FP8_TILES = (
    list(dict.fromkeys(tile for size in SIZES for tile in linear.list_tiles(size, DEVICE, dtype)))
    for dtype in (torch.bfloat16, E4M3)
)
"""Each for as many tokens as either knows."""


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def scratch() -> linear.LinearScratch:
    return linear.build_linear_scratch(28672, DEVICE)


def draw(*shape: int, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    scale: float = shape[-1] ** -0.25
    return (torch.randn(shape, device=DEVICE) * scale).to(dtype)


def measure_error(found: Tensor, expected: Tensor) -> float:
    """The largest of all tokens; NaN comes through."""
    return float(((found.float() - expected).norm(dim=-1) / expected.norm(dim=-1)).max())


def silu_mul(gate_up: Tensor) -> Tensor:
    gate, up = gate_up.chunk(2, dim=-1)
    return F.silu(gate) * up


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("tile", gemv.TILES)
@pytest.mark.parametrize(("columns", "size"), WEIGHTS)
def test_gemv(columns: int, size: int, tile: gemv.GemvTile, dtype: torch.dtype) -> None:
    x, weight, norm = draw(1, size, dtype=dtype), draw(columns, size, dtype=dtype), draw(size, dtype=dtype)
    bias, residual = draw(columns, dtype=dtype), draw(1, columns, dtype=dtype)
    product = F.linear(x.float(), weight.float(), bias.float())
    normed = F.linear(llama.rms_norm(x.float(), norm.float(), 1e-6), weight.float())
    total = residual.float() + product
    assert measure_error(gemv.gemv(x, weight, tile, bias=bias), product) < MAX_ERROR
    assert measure_error(gemv.gemv(x, weight, tile, norm=norm, eps=1e-6), normed) < MAX_ERROR
    assert measure_error(gemv.gemv(x, weight, tile, bias=bias, residual=residual), total) < MAX_ERROR


@pytest.mark.parametrize("tile", gemv.TILES)
@pytest.mark.parametrize(("columns", "size"), GATED)
def test_gated_gemv_with_a_norm(columns: int, size: int, tile: gemv.GemvTile) -> None:
    x, weight, norm = draw(1, size), draw(columns, size), draw(size)
    expected = silu_mul(F.linear(llama.rms_norm(x.float(), norm.float(), 1e-6), weight.float()))
    assert measure_error(gemv.gemv(x, weight, tile, norm=norm, eps=1e-6, gated=True), expected) < 2 * MAX_ERROR


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("tokens", [2, 7, 16, 50])
@pytest.mark.parametrize(("columns", "size"), WEIGHTS)
def test_linear(
    columns: int, size: int, tokens: int, tile: linear.LinearTile, dtype: torch.dtype, scratch: linear.LinearScratch
) -> None:
    x, weight = draw(tokens, size, dtype=dtype), draw(columns, size, dtype=dtype)
    bias = draw(columns, dtype=dtype)
    product = F.linear(x.float(), weight.float(), bias.float())
    assert measure_error(linear.linear(x, weight, tile, scratch, bias=bias), product) < MAX_ERROR


@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("tokens", [2, 16, 64])
@pytest.mark.parametrize(("columns", "size"), GATED)
def test_gated_linear(
    columns: int, size: int, tokens: int, tile: linear.LinearTile, scratch: linear.LinearScratch
) -> None:
    x, weight = draw(tokens, size), draw(columns, size)
    expected = silu_mul(F.linear(x.float(), weight.float()))
    assert measure_error(linear.linear(x, weight, tile, scratch, gated=True), expected) < 2 * MAX_ERROR


def capture(call: Callable[[], object]) -> torch.cuda.CUDAGraph:
    """After one call outside of the graph, in which Triton compiles."""
    call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph


@pytest.mark.parametrize("tile", TILES)
def test_split_sums_repeat_to_the_bit_in_graphs_that_share_their_scratch(
    tile: linear.LinearTile, scratch: linear.LinearScratch
) -> None:
    """Whoever arrives last: a lost part, a stale one or another order of the sum would differ in some round."""
    x, outer, inner = draw(16, 3072), draw(1024, 3072), draw(6144, 1024)
    assert linear.choose_splits(1024, 3072, tile, scratch.num_sms)[0] > 1
    expected = linear.linear(linear.linear(x, outer, tile, scratch), inner, tile, scratch, gated=True).clone()
    found = [torch.empty_like(expected) for _ in range(2)]

    def step(out: Tensor) -> None:
        out.copy_(linear.linear(linear.linear(x, outer, tile, scratch), inner, tile, scratch, gated=True))

    graphs = [capture(partial(step, out)) for out in found]
    for _ in range(ROUNDS):
        scratch.partial.fill_(torch.nan)
        for graph, out in zip(graphs, found, strict=True):
            out.zero_()
            graph.replay()
            assert torch.equal(out, expected)
    assert not bool(scratch.arrived.any())


@pytest.mark.parametrize("tile", FP8_TILES)
@pytest.mark.parametrize("tokens", [1, 16, 33, 64])
@pytest.mark.parametrize(("columns", "size"), [*WEIGHTS, *GATED])
def test_fp8_linear(
    columns: int, size: int, tokens: int, tile: linear.LinearTile, scratch: linear.LinearScratch
) -> None:
    (values, scales), (weight, weight_scale) = quantize_rows(draw(tokens, size)), quantize_rows(draw(columns, size))
    bias = draw(columns)
    expected = F.linear(values.float() * scales, weight.float() * weight_scale, bias.float())
    scaled = (values, scales, weight, weight_scale[:, 0].contiguous(), tile, scratch)
    assert measure_error(linear.linear_fp8(*scaled, bias=bias, dtype=torch.bfloat16), expected) < MAX_ERROR


@pytest.mark.parametrize("fp8", [False, True])
def test_choice_at_start_covers_small_batches_and_checks_every_kernel(
    fp8: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Each candidate is compared with cuBLAS on the way; what is left out is an error in the log."""
    model = load_model(MODEL, read_model_config(MODEL), DEVICE, torch.bfloat16, fp8=fp8)
    plan = measure_projections(model, 256)
    assert plan is not None and list(plan.backends) == [1, 16, 64]
    assert plan.backends_for(65) is (ALL_FP8 if fp8 else ALL_TORCH)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
