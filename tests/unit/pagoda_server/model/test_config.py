"""A model folder that a stranger wrote ends in one error that names the file, the field and the value."""

import json
import os
import resource
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from pagoda_server.model.config import MAX_CONFIG_BYTES, UnsupportedModel, parse_model_config, read_model_config
from pagoda_server.model.files import read_json
from pagoda_server.model.loader import BadCheckpoint, find_weight_files, load_model
from tests.doubles.tiny_models import CONFIG

LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8,
    "low_freq_factor": 1,
    "high_freq_factor": 4,
    "original_max_position_embeddings": 32,
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_size": "64"}, r"config.json: hidden_size is '64': Expected `int`, got `str`"),
        ({"hidden_size": None}, "hidden_size is None: Expected `int`, got `null`"),
        ({"hidden_size": [64]}, r"hidden_size is \[64\]"),
        ({"hidden_size": True}, "hidden_size is True"),
        ({"hidden_size": 64.5}, "hidden_size is 64.5"),
        ({"hidden_size": 0}, "hidden_size is 0: Expected `int` >= 1"),
        ({"hidden_size": -64}, "hidden_size is -64"),
        ({"hidden_size": 10**400}, "hidden_size is 1000"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers is 1000000000: Expected `int` <= 1024"),
        ({"vocab_size": 2**40}, "vocab_size is 1099511627776"),
        ({"num_attention_heads": 0}, "num_attention_heads is 0"),
        ({"num_attention_heads": 5}, "num_attention_heads is 5; give a multiple of num_key_value_heads, 2"),
        ({"num_attention_heads": 128}, "head_dim is 0 .*give an even number"),
        ({"head_dim": 15}, "head_dim is 15"),
        ({"head_dim": 2**20}, "num_attention_heads is 4 and head_dim 1048576; give at most"),
        ({"rms_norm_eps": float("inf")}, "rms_norm_eps is inf"),
        ({"rms_norm_eps": "1e-6"}, "rms_norm_eps is '1e-6'"),
        ({"rope_theta": 0}, "rope_theta is 0"),
        ({"rope_theta": float("nan")}, "rope_theta is nan"),
        ({"rope_scaling": "linear"}, "rope_scaling is 'linear'"),
        ({"rope_parameters": LLAMA3 | {"factor": None}}, "factor None"),
        ({"rope_parameters": LLAMA3 | {"high_freq_factor": 1}}, "high_freq_factor 1.*the third above the second"),
        ({"rope_parameters": LLAMA3 | {"factor": "8"}}, "rope_parameters: factor is '8'"),
        ({"architectures": 7}, "architectures is 7; supported are"),
        ({"architectures": [["LlamaForCausalLM"]]}, "architectures is"),
        ({"architectures": ["x" * 10_000]}, "architectures is .*…"),
        ({"layer_types": "full_attention"}, "layer_types is 'full_attention'"),
        ({"hidden_act": ["silu"]}, "hidden_act is"),
        ({"tie_word_embeddings": "yes"}, "tie_word_embeddings is 'yes'"),
        ({"eos_token_id": "2"}, "eos_token_id is '2'"),
        ({"eos_token_id": [-1]}, r"eos_token_id\[0\] is \[-1\]"),
        ({"eos_token_id": 1.5}, "eos_token_id is 1.5"),
        ({"dtype": 16}, "dtype is 16"),
        ({"quantization_config": []}, r"quantization_config is \[\]"),
        (
            {"quantization_config": {"quant_method": "compressed-tensors", "format": "float-quantized", "ignore": 7}},
            "config_groups is None",
        ),
    ],
)
def test_a_config_with_a_wrong_type_or_number_is_refused_by_field_and_value(
    change: dict[str, Any], message: str
) -> None:
    with pytest.raises(UnsupportedModel, match=message) as refusal:
        parse_model_config(CONFIG | change, {})
    assert len(str(refusal.value)) < 600 and "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", [name for name in CONFIG if name not in ("architectures", "num_key_value_heads")])
def test_a_missing_size_is_named(name: str) -> None:
    with pytest.raises(UnsupportedModel, match=f"missing required field `{name}`"):
        parse_model_config({field: value for field, value in CONFIG.items() if field != name}, {})


@pytest.mark.parametrize("value", ["2", 1e999, [None], {}, -1, 10**400])
def test_a_generation_config_with_a_wrong_type_is_refused_by_its_name(value: Any) -> None:
    with pytest.raises(UnsupportedModel, match="generation_config.json: eos_token_id"):
        parse_model_config(CONFIG, {"eos_token_id": value})


def test_null_means_the_default() -> None:
    names = ["head_dim", "num_key_value_heads", "rope_scaling", "sliding_window", "attention_bias", "rms_norm_eps"]
    without = {name: value for name, value in CONFIG.items() if name != "num_key_value_heads"}
    assert parse_model_config(without | dict.fromkeys(names), {}) == parse_model_config(without, {})


def test_an_end_of_sequence_token_outside_the_vocabulary_is_left_out() -> None:
    assert parse_model_config(CONFIG | {"eos_token_id": [198, 199]}, {}).eos_token_ids == (198,)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"null",
        b"7",
        b"{",
        b"\xff\xfe{}",
        b'{"a": "\xff"}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"hidden_size": NaN}',
        b'{"hidden_size": 1e999}',
        b'{"hidden_size": ' + b"9" * 100_000 + b"}",
        bytes(MAX_CONFIG_BYTES + 1),
    ],
)
def test_a_config_that_is_no_json_object_is_refused_by_its_path(raw: bytes, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(raw)
    with pytest.raises(UnsupportedModel, match=str(tmp_path / "config.json")) as refusal:
        read_model_config(tmp_path)
    assert len(str(refusal.value)) < 600


def test_a_config_of_a_gigabyte_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "config.json").open("wb") as file:
        file.truncate(1 << 30)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UnsupportedModel, match="more than 1048576 bytes"):
        read_model_config(tmp_path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024


@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "model.safetensors.index.json"])
def test_what_is_no_plain_file_is_refused_and_never_opened(name: str, tmp_path: Path) -> None:
    """A pipe would be waited for, a device read without end."""
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    for make in (os.mkfifo, lambda path: path.mkdir(), lambda path: path.symlink_to("/dev/zero")):
        path = tmp_path / name
        path.unlink(missing_ok=True)
        make(path)
        with pytest.raises(UnsupportedModel, match=f"{name} is no plain file"):
            read_model_config(tmp_path)
            find_weight_files(tmp_path)
        path.rmdir() if path.is_dir() else path.unlink()


def test_a_missing_config_is_said(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel, match="config.json is missing; fetch the model again"):
        read_model_config(tmp_path)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (b"[]", "is not the JSON it should be"),
        (b"{}", "weight_map"),
        (b'{"weight_map": []}', "weight_map"),
        (b'{"weight_map": {"a": 7}}', "weight_map"),
        (b'{"weight_map": {"a": null}}', "weight_map"),
        (b'{"weight_map": {"a": "../../x.safetensors"}}', r"\.\./\.\./x.safetensors are not plain names"),
        (b'{"weight_map": {"a": "/etc/x.safetensors"}}', "not plain names"),
        (b'{"weight_map": {"a": "a/../x.safetensors"}}', "not plain names"),
        (b'{"weight_map": {"a": "..", "b": "m.bin"}}', r"\.\., m.bin are not plain names"),
        (b'{"weight_map": {"a": "\\u0000.safetensors"}}', r"x00.safetensors cannot be read: embedded null byte"),
        (b'{"weight_map": {"a": "' + b"x" * 5000 + b'.safetensors"}}', "xxx… cannot be read: File name too long"),
        (b'{"weight_map": {"a": "gone.safetensors"}}', "gone.safetensors are missing"),
    ],
)
def test_an_index_that_names_what_is_no_file_of_the_folder_is_refused(
    index: bytes, message: str, tmp_path: Path
) -> None:
    folder = tmp_path / "models" / "one"
    folder.mkdir(parents=True)
    save_file({"a": torch.zeros(1)}, tmp_path / "x.safetensors")
    (folder / "model.safetensors.index.json").write_bytes(index)
    with pytest.raises(UnsupportedModel, match=message) as refusal:
        find_weight_files(folder)
    assert str(folder) in str(refusal.value) and len(str(refusal.value)) < 600


def test_a_tensor_that_is_in_two_files_is_refused_with_both(tmp_path: Path) -> None:
    for name in ("a.safetensors", "b.safetensors"):
        save_file({"model.norm.weight": torch.zeros(64)}, tmp_path / name)
    index = {"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(BadCheckpoint, match=r"model.norm.weight is in .*a.safetensors and in .*b.safetensors"):
        load_model(tmp_path, parse_model_config(CONFIG, {}), torch.device("cpu"), torch.float32)


def test_a_config_larger_than_memory_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    save_file({"model.norm.weight": torch.zeros(64)}, tmp_path / "model.safetensors")
    huge = parse_model_config(CONFIG | {"hidden_size": 2**20, "intermediate_size": 2**20, "head_dim": 64}, {})
    with pytest.raises(BadCheckpoint, match=r"model.norm.weight has shape \[64\]; config.json asks for \[1048576\]"):
        load_model(tmp_path, huge, torch.device("cpu"), torch.float32)


def test_no_message_repeats_the_bytes_of_a_file_that_does_not_parse(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"hunter2: top secret")
    with pytest.raises(UnsupportedModel) as refusal:
        read_json(path, dict[str, Any], limit_bytes=100)
    assert "hunter2" not in str(refusal.value)
