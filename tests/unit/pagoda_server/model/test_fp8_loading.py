"""Weights in fp8: made while a 16-bit checkpoint loads, or read from one in the compressed-tensors format."""

import json
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from pagoda_server.engine.config import EngineConfig
from pagoda_server.kernels.e4m3 import E4M3
from pagoda_server.model.config import UnsupportedModel, parse_model_config, read_model_config
from pagoda_server.model.llama import Layer, Llama
from pagoda_server.model.loader import BadCheckpoint, load_model
from pagoda_server.quant.fp8 import Fp8Linear, quantize_rows
from pagoda_server.runtime.cache import count_page_bytes
from pagoda_server.runtime.reference.runner import ReferenceRunner
from pagoda_server.start.build import build_engine
from pagoda_server.start.device import refuse_fp8_before_ada
from pagoda_server.wire import Sampling
from tests.unit.pagoda_server.conftest import Generate, Models

CPU = torch.device("cpu")
NUMBERS = {"num_bits": 8, "type": "float", "symmetric": True, "group_size": None, "observer": "minmax"}
SCHEME: dict[str, Any] = {
    "quant_method": "compressed-tensors",
    "format": "float-quantized",
    "quantization_status": "compressed",
    "ignore": ["lm_head"],
    "config_groups": {
        "group_0": {
            "targets": ["Linear"],
            "weights": {**NUMBERS, "strategy": "channel", "dynamic": False},
            "input_activations": {**NUMBERS, "strategy": "token", "dynamic": True},
            "output_activations": None,
        }
    },
    "kv_cache_scheme": None,
}
KV_SCHEME = {**NUMBERS, "strategy": "tensor", "dynamic": False}
Tensors = dict[str, torch.Tensor]
Write = Callable[..., Path]


@pytest.fixture
def write(models: Models, tmp_path: Path) -> Write:
    """A checkpoint in fp8 of a tiny model: one scale a channel, or with `per_tensor` one for all of a tensor."""

    def write_checkpoint(family: str = "llama", *, per_tensor: bool = False, **scheme: Any) -> Path:
        folder = Path(shutil.copytree(models[family][0], tmp_path / f"fp8-{family}"))
        tensors: Tensors = {}
        for name, tensor in load_file(folder / "model.safetensors").items():
            tensors[name] = tensor
            if name.endswith("_proj.weight"):
                flat, scale = quantize_rows(tensor.flatten()[None])
                values = flat.view(tensor.shape)
                if not per_tensor:
                    values, scale = quantize_rows(tensor)
                tensors |= {name: values, f"{name}_scale": scale[0] if per_tensor else scale}
        save_file(tensors, folder / "model.safetensors")
        raw = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(raw | {"quantization_config": SCHEME | scheme}))
        return folder

    return write_checkpoint


def change(folder: Path, tensors: Tensors) -> None:
    save_file(load_file(folder / "model.safetensors") | tensors, folder / "model.safetensors")


def load(folder: Path, *, fp8: bool = False) -> Llama:
    return load_model(folder, read_model_config(folder), CPU, torch.float32, fp8=fp8)


def same_weights(first: Llama, second: Llama) -> bool:
    a, b = first.state_dict(), second.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name].float(), b[name].float()) for name in a)


@pytest.mark.parametrize("family", ["llama", "llama3-rope-tied", "mistral", "qwen2", "qwen3"])
def test_a_stored_checkpoint_equals_its_16_bit_one_quantized_as_it_loads(
    family: str, models: Models, write: Write
) -> None:
    stored, made = load(write(family)), load(models[family][0], fp8=True)
    assert same_weights(stored, made)
    layer = stored.layers[0]
    assert isinstance(layer, Layer) and layer.qkv.weight.dtype == E4M3
    assert stored.embedding.dtype == torch.float32


def test_quantized_weights_stay_near(models: Models) -> None:
    plain, made = load(models["qwen2"][0]), load(models["qwen2"][0], fp8=True)
    assert isinstance(plain.layers[1], Layer) and isinstance(made.layers[1], Layer)
    for name in ("qkv", "output", "gate_up", "down"):
        found, expected = getattr(made.layers[1], name), getattr(plain.layers[1], name)
        wide = found.weight.float() * found.weight_scale[:, None]
        assert (wide - expected.weight).norm() / expected.weight.norm() < 0.04
        assert (found.bias is None) == (expected.bias is None)


def test_one_scale_for_a_tensor_becomes_one_for_each_of_its_rows(write: Write) -> None:
    folder = write(per_tensor=True)
    layer, tensors = load(folder).layers[0], load_file(folder / "model.safetensors")
    assert isinstance(layer, Layer)
    scales = [tensors[f"model.layers.0.self_attn.{name}_proj.weight_scale"] for name in "qkv"]
    assert isinstance(layer.qkv, Fp8Linear)
    assert torch.equal(layer.qkv.weight_scale, torch.cat([scales[0].repeat(64), *(s.repeat(32) for s in scales[1:])]))


def test_scales_of_keys_and_values_reach_the_cache(write: Write) -> None:
    folder = write(kv_cache_scheme=KV_SCHEME)
    for layer in ("model.layers.0.self_attn", "model.layers.1.self_attn"):
        change(folder, {f"{layer}.k_scale": torch.tensor(0.5), f"{layer}.v_scale": torch.tensor([0.25])})
    model = load(folder)
    assert [cache[2:] for cache in ReferenceRunner(model, 2, 16, E4M3).caches] == [(0.5, 0.25)] * 2
    assert [cache[2:] for cache in ReferenceRunner(model, 2, 16).caches] == [(1.0, 1.0)] * 2


def test_static_scales_of_activations_are_not_needed(write: Write) -> None:
    groups = {"group_0": SCHEME["config_groups"]["group_0"] | {"input_activations": {**KV_SCHEME}}}
    folder = write(config_groups=groups)
    without = load(folder)
    change(folder, {"model.layers.0.self_attn.q_proj.input_scale": torch.tensor([0.1])})
    assert same_weights(load(folder), without)


def test_an_fp8_cache_takes_half_the_bytes_of_16_bits(models: Models) -> None:
    config = read_model_config(models["llama"][0])
    assert count_page_bytes(config, 64, E4M3) * 2 == count_page_bytes(config, 64, torch.bfloat16)


def put(path: str, value: Any) -> dict[str, Any]:
    """SCHEME with another value at `a.b.c`."""
    scheme = json.loads(json.dumps(SCHEME))
    *parents, last = path.split(".")
    at = scheme
    for name in parents:
        at = at[name]
    at[last] = value
    return dict(scheme)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("quant_method", "gptq", "quant_method is 'gptq'; supported are fp8 weights in the compressed-tensors"),
        ("format", "pack-quantized", "format is 'pack-quantized'; supported is 'float-quantized'"),
        ("sparsity_config", {"format": "sparse-24-bitmask"}, "sparsity_config is"),
        ("transform_config", {"config_groups": {"u": 1}}, "transform_config is"),
        ("something_new", 3, "something_new is 3"),
        ("ignore", ["lm_head", "model.layers.0.mlp.down_proj"], r"ignore is \['lm_head', 'model.layers.0"),
        ("ignore", [], r"ignore is \[\]; supported is \['lm_head'\]"),
        ("config_groups", {}, "config_groups is {}"),
        ("config_groups.group_0.targets", ["re:.*"], r"group_0.targets is \['re"),
        ("config_groups.group_0.weights.num_bits", 4, "weights.num_bits is 4; supported is 8"),
        ("config_groups.group_0.weights.type", "int", "weights.type is 'int'"),
        ("config_groups.group_0.weights.strategy", "block", "weights.strategy is 'block'.*'channel' or 'tensor'"),
        ("config_groups.group_0.weights.group_size", 128, "weights.group_size is 128"),
        ("config_groups.group_0.input_activations", None, "input_activations is None"),
        ("config_groups.group_0.input_activations.strategy", "group", "input_activations.strategy is 'group'"),
        ("kv_cache_scheme", {**KV_SCHEME, "strategy": "attn_head"}, "kv_cache_scheme.strategy is 'attn_head'"),
    ],
)
def test_what_is_not_supported_of_the_format_is_named(path: str, value: Any, message: str, models: Models) -> None:
    raw = json.loads((models["llama"][0] / "config.json").read_text())
    assert parse_model_config(raw | {"quantization_config": SCHEME}, {}).quantization is not None
    with pytest.raises(UnsupportedModel, match=f"config.json: quantization_config.*{message}"):
        parse_model_config(raw | {"quantization_config": put(path, value)}, {})


SCALE = "model.layers.0.self_attn.k_proj.weight_scale"


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        (SCALE, torch.ones(7, 1), r"k_proj.weight_scale has shape \[7, 1\]; supported are one value or 32"),
        (SCALE, torch.full((32, 1), torch.nan), "k_proj.weight_scale holds nan"),
        (SCALE, torch.zeros(1), "k_proj.weight_scale holds 0.0"),
        ("model.norm.weight", torch.ones(64).to(E4M3), "is torch.float8_e4m3fn; by config.json it is bfloat16 or"),
        (
            "model.layers.0.mlp.up_proj.weight",
            torch.ones(96, 64),
            "is torch.float32; by config.json it is float8_e4m3fn",
        ),
        ("model.layers.0.mlp.up_proj.weight", torch.ones(96, 64).to(torch.float8_e5m2), "is torch.float8_e5m2"),
        ("model.layers.0.self_attn.k_scale", torch.ones(1), "unexpected model.layers.0.self_attn.k_scale"),
    ],
)
def test_a_tensor_that_does_not_fit_is_named(name: str, tensor: torch.Tensor, message: str, write: Write) -> None:
    folder = write()
    change(folder, {name: tensor})
    with pytest.raises(BadCheckpoint, match=message):
        load(folder)


def test_a_missing_scale_is_named(write: Write) -> None:
    folder = write()
    tensors = load_file(folder / "model.safetensors")
    del tensors[SCALE]
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(BadCheckpoint, match=f"missing {SCALE}"):
        load(folder)


@pytest.mark.parametrize("fp8", [False, True])
def test_fp8_tensors_of_which_the_config_says_nothing_are_refused(fp8: bool, write: Write) -> None:
    folder = write()
    raw = json.loads((folder / "config.json").read_text())
    del raw["quantization_config"]
    (folder / "config.json").write_text(json.dumps(raw))
    with pytest.raises(BadCheckpoint, match="is torch.float8_e4m3fn; by config.json it is bfloat16"):
        load(folder, fp8=fp8)


def build_config(folder: Path, **settings: Any) -> EngineConfig:
    return EngineConfig(model=folder, socket=Path("s"), device="cpu", measure_capacity=False, **settings)


def test_an_fp8_engine_answers_and_its_pages_hold_four_times_the_tokens_of_float32(
    models: Models, generate: Generate
) -> None:
    folder = models["llama"][0]
    engines = [
        build_engine(build_config(folder, kv_cache_bytes=1 << 20, **settings)).engine
        for settings in ({}, {"quantization": "fp8", "kv_cache_dtype": "fp8"})
    ]
    plain, narrow = (engine.scheduler.pool.num_free for engine in engines)
    assert narrow == 4 * plain
    (tokens,) = generate(engines[1], [[3, 4, 5]], Sampling(max_tokens=6, temperature=0.0))
    assert len(tokens) == 6


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"quantization": "fp8"}, "quantization is 'fp8', but this GPU is of compute capability 8.0"),
        ({"kv_cache_dtype": "fp8"}, "kv_cache_dtype is 'fp8', but"),
        ({}, None),
    ],
)
def test_a_gpu_without_fp8_is_refused_before_weights_are_read(
    settings: dict[str, Any], message: str | None, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    folder = models["llama"][0]
    config, model = build_config(folder, **settings), read_model_config(folder)
    with nullcontext() if message is None else pytest.raises(ValueError, match=message):
        refuse_fp8_before_ada(config, model, torch.device("cuda"))
    refuse_fp8_before_ada(config, model, CPU)
