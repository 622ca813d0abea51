"""A backend is chosen where it is measured to be faster, and a kernel that fails or is wrong is never hidden."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from pagoda_server.kernels.gemv import GemvTile
from pagoda_server.kernels.linear import LinearTile, build_linear_scratch
from pagoda_server.model.llama import Layer, Llama
from pagoda_server.model.shard import ALONE
from pagoda_server.quant.fp8 import Fp8Linear, quantize_rows, replace_linears
from pagoda_server.runtime.gpu.projections import (
    ALL_FP8,
    ALL_TORCH,
    TORCH,
    GemvBackend,
    LayerBackends,
    ProjectionBackend,
    ProjectionPlan,
    ResidualStream,
    SeparateBackend,
    TiledBackend,
    torch_linear,
)
from pagoda_server.start.measure_projections import Candidates, choose_backends, choose_sizes, find_candidates
from tests.doubles.tiny_models import build_model_config

CONFIG = build_model_config(
    architectures=["Qwen2ForCausalLM"],
    hidden_size=32,
    intermediate_size=48,
    num_attention_heads=2,
    num_key_value_heads=1,
    tie_word_embeddings=True,
)
SITES = ("qkv", "output", "gate_up", "down")


@pytest.fixture
def layers(device: torch.device) -> list[Layer]:
    made = [Layer(CONFIG, index).to(device).requires_grad_(False) for index in range(2)]
    for layer in made:
        layer.attention_norm.fill_(1.5)
        layer.mlp_norm.fill_(0.5)
    return made


class Clock:
    """Runs the calls once and tells a time for each set of calls: the given ones, in turn."""

    def __init__(self, *seconds: float) -> None:
        self.seconds = list(seconds)

    def __call__(self, calls: Sequence[Callable[[], object]]) -> float:
        for call in calls:
            call()
        return self.seconds.pop(0)


def build_backends(num_tokens: int, device: torch.device) -> list[ProjectionBackend]:
    if num_tokens == 1:
        return [GemvBackend(GemvTile(2, 16)), GemvBackend(GemvTile(4, 32))]
    scratch = build_linear_scratch(96, device)
    return [TiledBackend(LinearTile(16, 16), scratch), TiledBackend(LinearTile(32, 32), scratch)]


@pytest.mark.parametrize("num_tokens", [1, 4])
def test_each_projection_gets_its_fastest_backend(layers: list[Layer], num_tokens: int, device: torch.device) -> None:
    first, second = candidates = build_backends(num_tokens, device)
    times = [(2.0, 1.0, 3.0), (2.0, 1.99, 3.0), (2.0, 3.0, 1.0), (1.0, 2.0, 2.0)]  # output, down, gate_up, qkv
    clock = Clock(*(time for site in times for time in site))
    chosen = choose_backends(Candidates(layers, ALL_TORCH, lambda _: candidates), num_tokens, clock)
    assert chosen == LayerBackends(output=first, down=TORCH, gate_up=second, qkv=TORCH), "a gain of 0.5 % is noise"
    assert not clock.seconds


class Wrong(SeparateBackend):
    def write(self, x: Tensor, projection: nn.Linear, stream: ResidualStream) -> None:
        stream.pending = projection(x) * 1.05


class Broken(SeparateBackend):
    def write(self, x: Tensor, projection: nn.Linear, stream: ResidualStream) -> None:
        raise TypeError("cannot compile")


@pytest.mark.parametrize(
    ("backend", "complaint"),
    [
        (
            Wrong("wrong", torch_linear),
            "is wrong and is left out site=output shape=[32, 32] tokens=2 backend=wrong usual=torch",
        ),
        (
            Broken("broken", torch_linear),
            "fails and is left out site=output shape=[32, 32] tokens=2 backend=broken error=cannot compile",
        ),
    ],
)
def test_a_kernel_that_fails_or_is_wrong_is_left_out_and_said(
    layers: list[Layer], backend: ProjectionBackend, complaint: str, caplog: pytest.LogCaptureFixture
) -> None:
    found = Candidates(layers, ALL_TORCH, lambda _: [backend])
    assert choose_backends(found, 2, Clock(1.0, 1.0, 1.0, 0.99, 1.0, 0.99)) == LayerBackends()
    errors = [record.message for record in caplog.records if record.levelname == "ERROR"]
    assert errors[0] == f"projection backend {complaint}" and len(errors) == 2


def test_a_pass_takes_the_backends_of_the_next_size(device: torch.device) -> None:
    one, four = (LayerBackends(qkv=build_backends(size, device)[0]) for size in (1, 4))
    plan = ProjectionPlan({1: one, 4: four})
    assert [plan.backends_for(size) for size in (1, 2, 4, 5)] == [one, four, four, ALL_TORCH]
    assert ProjectionPlan().backends_for(1) is ALL_TORCH


@pytest.mark.parametrize("num_tokens", [1, 3])
@pytest.mark.parametrize("before", [False, True])
def test_every_backend_leaves_the_same_stream(
    layers: list[Layer], num_tokens: int, before: bool, device: torch.device
) -> None:
    """Whether or not a sum is pending when it begins."""
    layer, tokens = layers[0], torch.randn((3, num_tokens, 32), device=device)

    def run(backend: ProjectionBackend) -> tuple[Tensor, Tensor, Tensor]:
        stream = ResidualStream(tokens[0].clone(), tokens[1] if before else None)
        qkv = backend.read(stream, layer.attention_norm, 1e-5, layer.qkv)
        backend.write(tokens[2], layer.output, stream)
        gated = backend.read_gated(stream, layer.mlp_norm, 1e-5, layer.gate_up)
        backend.write(gated, layer.down, stream)
        return qkv, gated, stream.settle()

    expected = run(TORCH)
    for backend in build_backends(num_tokens, device):
        torch.testing.assert_close(run(backend), expected, rtol=1e-4, atol=1e-5)


def find(layers: list[Layer]) -> Candidates | None:
    return find_candidates(cast(Llama, SimpleNamespace(layers=layers, group=ALONE)))


def test_layers_of_two_kinds_stay_with_cublas(layers: list[Layer]) -> None:
    found = find(layers)
    assert found is not None and found.usual is ALL_TORCH
    replace_linears(layers[0])
    assert find(layers) is None


def test_weights_of_another_dtype_stay_with_cublas(layers: list[Layer]) -> None:
    layers[0].down = layers[0].down.half()
    assert find(layers) is None


@pytest.mark.parametrize("num_tokens", [1, 5])
@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
def test_fp8_has_tiles_of_its_own(layers: list[Layer], num_tokens: int, device: torch.device) -> None:
    for layer in layers:
        replace_linears(layer.to(device))
        for module in layer.modules():
            if isinstance(module, Fp8Linear):
                values, scales = quantize_rows(torch.randn(module.weight.shape, device=device))
                module.weight.copy_(values)
                module.weight_scale.copy_(scales[:, 0])
    found = find(layers)
    assert found is not None and found.usual is ALL_FP8
    tiles = found.backends_for(num_tokens)
    tiled, times = tiles[0], [1.0, 0.5, 2.0] * 4
    chosen = choose_backends(replace(found, backends_for=lambda _: tiles), num_tokens, Clock(*times))
    assert chosen == LayerBackends(tiled, tiled, tiled, tiled)


def test_measured_sizes_are_no_larger_than_a_batch() -> None:
    assert [choose_sizes(most) for most in (1, 8, 40, 256)] == [[1], [1, 8], [1, 16, 40], [1, 16, 64]]
