"""Any bytes in a model's folder are a value or one typed error of bounded length."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pagoda_server.model.config import ModelConfig, UnsupportedModel, parse_model_config, read_model_config
from pagoda_server.model.loader import find_weight_files
from pagoda_server.model.safetensors_header import DTYPES, BadCheckpoint, read_header
from pagoda_server.quant.checkpoint import CACHE, GROUP, INPUTS, TOP, WEIGHTS, parse_fp8_checkpoint
from tests.doubles.tiny_models import CONFIG

MOST_MESSAGE_CHARACTERS = 1500
untimed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
NAMES = st.sampled_from(
    ["architectures", "auto_map", "compression_config", "dtype", "eos_token_id", "head_dim", "hidden_act"]
    + ["hidden_size", "intermediate_size", "layer_types", "num_attention_heads", "num_hidden_layers"]
    + ["num_key_value_heads", "quantization_config", "rms_norm_eps", "rope_parameters", "rope_scaling", "rope_theta"]
    + ["sliding_window", "tie_word_embeddings", "use_sliding_window", "vocab_size", "partial_rotary_factor"]
)
FP8_NAMES = st.sampled_from(sorted({*TOP, *GROUP, *WEIGHTS, *INPUTS, *CACHE, "group_0"}))
NUMBERS = st.one_of(st.integers(-3, 2**33), st.floats(), st.just(10**400))
LEAVES = st.one_of(st.none(), st.booleans(), NUMBERS, st.text(max_size=9), st.sampled_from(["silu", "llama3", "fp8"]))
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3))
GOOD = CONFIG | {"architectures": ["Qwen3ForCausalLM"], "num_key_value_heads": None}


def is_bounded(error: Exception) -> bool:
    return len(str(error)) < MOST_MESSAGE_CHARACTERS and bool(str(error).encode())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("model")


@untimed
@given(changes=st.dictionaries(NAMES, VALUES, max_size=3), generation=st.dictionaries(NAMES, VALUES, max_size=1))
def test_any_values_of_a_config_are_a_decoder_that_can_be_built_or_one_error(
    changes: dict[str, Any], generation: dict[str, Any]
) -> None:
    try:
        config = parse_model_config(GOOD | changes, generation)
    except UnsupportedModel as error:
        assert is_bounded(error)
        return
    assert isinstance(config, ModelConfig)
    assert config.num_heads % config.num_kv_heads == 0 and config.head_dim % 2 == 0 and config.rope_theta > 0
    assert all(0 <= token < config.vocab_size for token in config.eos_token_ids)


@untimed
@given(raw=st.dictionaries(FP8_NAMES, st.one_of(VALUES, st.dictionaries(FP8_NAMES, VALUES, max_size=3)), max_size=6))
def test_any_quantization_is_read_or_refused(raw: dict[str, Any]) -> None:
    try:
        parse_fp8_checkpoint({"quant_method": "compressed-tensors", "format": "float-quantized"} | raw, tied=True)
    except ValueError as error:
        assert type(error) is ValueError and is_bounded(error)


@untimed
@given(raw=st.one_of(st.binary(), VALUES.map(lambda value: json.dumps(value).encode())))
def test_any_bytes_of_a_json_file_are_one_error_or_a_value(folder: Path, raw: bytes) -> None:
    for name, read in (
        ("config.json", read_model_config),
        ("model.safetensors.index.json", find_weight_files),
    ):
        (folder / name).write_bytes(raw)
        try:
            read(folder)
        except UnsupportedModel as error:
            assert is_bounded(error)


ENTRIES = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.one_of(st.sampled_from([*DTYPES]), VALUES),
        "shape": st.one_of(st.lists(NUMBERS, max_size=9), VALUES),
        "data_offsets": st.one_of(st.lists(st.integers(-1, 20), min_size=2, max_size=2), VALUES),
        "more": VALUES,
    },
)
HEADERS = st.dictionaries(st.text(max_size=9) | st.just("__metadata__"), ENTRIES | VALUES, max_size=3)


@untimed
@given(header=st.one_of(st.binary(), HEADERS.map(lambda value: json.dumps(value).encode())), data=st.binary())
def test_any_header_is_tensors_within_the_file_or_one_error(folder: Path, header: bytes, data: bytes) -> None:
    path = folder / "any.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + data)
    try:
        tensors = read_header(path)
    except BadCheckpoint as error:
        assert is_bounded(error)
        return
    assert sum(tensor.num_bytes for tensor in tensors) == len(data)


@untimed
@given(raw=st.binary(max_size=40))
def test_any_bytes_of_a_weights_file_are_one_error_or_a_value(folder: Path, raw: bytes) -> None:
    path = folder / "raw.safetensors"
    path.write_bytes(raw)
    try:
        read_header(path)
    except BadCheckpoint as error:
        assert is_bounded(error)
