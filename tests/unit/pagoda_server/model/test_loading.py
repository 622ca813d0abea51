"""What cannot be served is refused before it serves, by name."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from pagoda_server.model.config import UnsupportedModel, parse_model_config, read_model_config
from pagoda_server.model.loader import BadCheckpoint, load_model
from tests.unit.pagoda_server.conftest import Models

CPU = torch.device("cpu")


@pytest.fixture
def folder(models: Models, tmp_path: Path) -> Path:
    return Path(shutil.copytree(models["llama"][0], tmp_path / "copy"))


def load(folder: Path) -> None:
    load_model(folder, read_model_config(folder), CPU, torch.float32)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architectures": ["MambaForCausalLM"]}, r"MambaForCausalLM.*supported are LlamaForCausalLM"),
        ({"auto_map": {"AutoModel": "evil.Model"}}, "auto_map"),
        ({"quantization_config": {"bits": 4}}, "quantization_config"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1.0}}, "rope_type is 'yarn'"),
        ({"architectures": ["MistralForCausalLM"], "sliding_window": 4096}, "sliding_window is 4096"),
    ],
)
def test_unsupported_config_is_refused_by_name(change: dict[str, Any], message: str, folder: Path) -> None:
    raw = json.loads((folder / "config.json").read_text())
    with pytest.raises(UnsupportedModel, match=message):
        parse_model_config(raw | change, {})


def test_old_and_new_rope_fields_mean_the_same(folder: Path) -> None:
    raw = json.loads((folder / "config.json").read_text())
    scaling = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32}
    del raw["rope_parameters"]
    old = raw | {"rope_theta": 5e5, "rope_scaling": {"rope_type": "llama3", **scaling}}
    new = raw | {"rope_parameters": {"rope_type": "llama3", "rope_theta": 5e5, **scaling}}
    assert parse_model_config(old, {}) == parse_model_config(new, {})


def test_end_of_sequence_comes_from_the_generation_config_first(folder: Path) -> None:
    raw = json.loads((folder / "config.json").read_text()) | {"eos_token_id": 2}
    assert parse_model_config(raw, {"eos_token_id": [7, 8]}).eos_token_ids == (7, 8)
    assert parse_model_config(raw, {}).eos_token_ids == (2,)


def test_missing_and_unexpected_tensors_are_named(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["stranger"] = tensors.pop("model.layers.1.self_attn.k_proj.weight")
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(BadCheckpoint, match=r"missing model.layers.1.self_attn.k_proj.weight; unexpected stranger"):
        load(folder)


def test_pickled_weights_are_refused(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(BadCheckpoint, match="safetensors"):
        load(folder)


def test_sharded_weights_equal_the_single_file(folder: Path, models: Models) -> None:
    config = read_model_config(folder)
    single = load_model(folder, config, CPU, torch.float32).state_dict()
    (folder / "model.safetensors").unlink()
    models["llama"][1].save_pretrained(folder, max_shard_size="100KB")
    assert (folder / "model.safetensors.index.json").exists()
    sharded = load_model(folder, config, CPU, torch.float32).state_dict()
    assert single.keys() == sharded.keys() and all(torch.equal(single[name], sharded[name]) for name in single)
