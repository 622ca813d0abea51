"""What `config.json` says of the decoder.

Anything the engine would compute wrongly is refused here, by name, before weights are read.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pagoda_guard.showing import show
from pagoda_server.model.config_file import MAX_WIDTH, ConfigFile, GenerationFile, RopeFile, convert
from pagoda_server.model.files import UnsupportedModel, has_file, read_json
from pagoda_server.model.shard import Shard
from pagoda_server.quant.checkpoint import Fp8Checkpoint, parse_fp8_checkpoint

__all__ = ["ModelConfig", "UnsupportedModel", "divide", "parse_model_config", "read_model_config"]
SUPPORTED = ("LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM")
MAX_CONFIG_BYTES = 1024 * 1024
QWEN3_HEAD_DIM = 128
"""Where its config does not say."""


@dataclass(frozen=True, slots=True)
class Llama3Rope:
    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_max_position_embeddings: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    architecture: str
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    rms_norm_eps: float
    max_position_embeddings: int
    rope_theta: float
    rope_scaling: Llama3Rope | None
    tie_word_embeddings: bool
    qkv_bias: bool
    output_bias: bool
    mlp_bias: bool
    qk_norm: bool
    dtype: str
    """The checkpoint's own: float32, bfloat16 or float16."""
    eos_token_ids: tuple[int, ...]
    quantization: Fp8Checkpoint | None = None
    """None: the weights are stored in `dtype`."""
    shard: Shard = Shard()
    """`num_heads`, `num_kv_heads` and `intermediate_size` are its own; all else is said of the whole model."""


def read_model_config(folder: Path) -> ModelConfig:
    """Reads the decoder's config from a model's folder. Raises `UnsupportedModel`."""
    raw = read_json(folder / "config.json", dict[str, Any], limit_bytes=MAX_CONFIG_BYTES)
    path = folder / "generation_config.json"
    generation = read_json(path, dict[str, Any], limit_bytes=MAX_CONFIG_BYTES) if has_file(path) else {}
    return parse_model_config(raw, generation)


def divide(config: ModelConfig, shard: Shard) -> ModelConfig:
    """Returns what one rank holds of the decoder.

    Raises `UnsupportedModel` for a model that cannot be divided so.
    """
    sizes = {
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_kv_heads,
        "intermediate_size": config.intermediate_size,
    }
    for name, value in sizes.items():
        if value % shard.size:
            fitting = [size for size in range(1, shard.size) if not any(value % size for value in sizes.values())]
            raise UnsupportedModel(
                f"tensor_parallel is {shard.size}, which does not divide the model's {name} {value}; "
                f"give {' or '.join(map(str, fitting))}"
            )
    return replace(
        config,
        num_heads=config.num_heads // shard.size,
        num_kv_heads=config.num_kv_heads // shard.size,
        intermediate_size=config.intermediate_size // shard.size,
        shard=shard,
    )


def parse_model_config(raw: Mapping[str, Any], generation: Mapping[str, Any]) -> ModelConfig:
    """Parses config.json and generation_config.json. Raises `UnsupportedModel`."""
    architecture = _parse_architecture(raw)
    file = convert(raw, ConfigFile, where="config.json")
    generation_file = convert(generation, GenerationFile, where="generation_config.json")
    _refuse_unsupported(file, architecture)
    qwen2, qwen3 = architecture == "Qwen2ForCausalLM", architecture == "Qwen3ForCausalLM"
    attention_bias = bool(file.attention_bias) and not qwen2
    theta, scaling = _parse_rope(file)
    config = ModelConfig(
        architecture=architecture,
        vocab_size=file.vocab_size,
        hidden_size=file.hidden_size,
        intermediate_size=file.intermediate_size,
        num_layers=file.num_hidden_layers,
        num_heads=file.num_attention_heads,
        num_kv_heads=file.num_key_value_heads or file.num_attention_heads,
        head_dim=file.head_dim or (QWEN3_HEAD_DIM if qwen3 else file.hidden_size // file.num_attention_heads),
        rms_norm_eps=1e-6 if file.rms_norm_eps is None else file.rms_norm_eps,
        max_position_embeddings=file.max_position_embeddings or 2048,
        rope_theta=theta,
        rope_scaling=scaling,
        tie_word_embeddings=bool(file.tie_word_embeddings),
        qkv_bias=qwen2 or attention_bias,
        output_bias=attention_bias,
        mlp_bias=bool(file.mlp_bias) and architecture == "LlamaForCausalLM",
        qk_norm=qwen3,
        dtype=file.dtype or file.torch_dtype or "float32",
        eos_token_ids=_parse_eos(file, generation_file),
        quantization=_parse_quantization(file),
    )
    _check_heads(config)
    return config


def _parse_architecture(raw: Mapping[str, Any]) -> str:
    """Parses it before all else, for a field of another architecture may have another type."""
    architectures = raw.get("architectures")
    if not isinstance(architectures, list) or len(architectures) != 1 or architectures[0] not in SUPPORTED:
        raise UnsupportedModel(
            f"config.json: architectures is {show(architectures)}; supported are {', '.join(SUPPORTED)}"
        )
    return str(architectures[0])


def _refuse_unsupported(file: ConfigFile, architecture: str) -> None:
    if file.auto_map:
        raise UnsupportedModel(
            "config.json: auto_map names code in the model folder, which is never run; use a model without it"
        )
    if file.hidden_act not in (None, "silu"):
        raise UnsupportedModel(f"config.json: hidden_act is {show(file.hidden_act)}; supported is 'silu'")
    if _uses_sliding_window(file, architecture):
        raise UnsupportedModel(
            f"config.json: sliding_window is {show(file.sliding_window)}; only full attention is supported, "
            "use a checkpoint whose sliding_window is null"
        )


def _uses_sliding_window(file: ConfigFile, architecture: str) -> bool:
    if any(layer != "full_attention" for layer in file.layer_types or ()):
        return True
    is_used = architecture == "MistralForCausalLM" if file.use_sliding_window is None else file.use_sliding_window
    return bool(file.sliding_window) and is_used


def _parse_rope(file: ConfigFile) -> tuple[float, Llama3Rope | None]:
    """Parses the `rope_parameters` of transformers 5, or the `rope_theta` and `rope_scaling` of those before it."""
    raw = {**(file.rope_scaling or {}), **(file.rope_parameters or {})}
    rope = convert(raw, RopeFile, where="config.json: rope_parameters")
    theta, rope_type = rope.rope_theta or file.rope_theta or 10000.0, rope.rope_type or rope.type or "default"
    factors = (rope.partial_rotary_factor, file.partial_rotary_factor)
    if any(factor not in (None, 1.0) for factor in factors):
        raise UnsupportedModel("config.json: partial_rotary_factor is not 1; only full rotary embeddings are supported")
    if rope_type == "default":
        return theta, None
    if rope_type != "llama3":
        raise UnsupportedModel(f"config.json: rope_type is {show(rope_type)}; supported are 'default' and 'llama3'")
    return theta, _parse_llama3(rope)


def _parse_llama3(rope: RopeFile) -> Llama3Rope:
    factor, low, high = rope.factor, rope.low_freq_factor, rope.high_freq_factor
    original = rope.original_max_position_embeddings
    if factor is None or low is None or high is None or original is None or not low < high:
        raise UnsupportedModel(
            f"config.json: rope_parameters of rope_type 'llama3' have factor {factor}, low_freq_factor {low}, "
            f"high_freq_factor {high}, original_max_position_embeddings {original}; give all four, the third above "
            "the second"
        )
    return Llama3Rope(factor, low, high, original)


def _check_heads(config: ModelConfig) -> None:
    if config.num_heads % config.num_kv_heads:
        raise UnsupportedModel(
            f"config.json: num_attention_heads is {config.num_heads}; "
            f"give a multiple of num_key_value_heads, {config.num_kv_heads}"
        )
    if config.num_heads * config.head_dim > MAX_WIDTH:
        raise UnsupportedModel(
            f"config.json: num_attention_heads is {config.num_heads} and head_dim {config.head_dim}; "
            f"give at most {MAX_WIDTH} of all heads together"
        )
    if config.head_dim < 2 or config.head_dim % 2:
        raise UnsupportedModel(
            f"config.json: head_dim is {config.head_dim} (without it, hidden_size / num_attention_heads); "
            "give an even number"
        )


def _parse_quantization(file: ConfigFile) -> Fp8Checkpoint | None:
    config = file.quantization_config or file.compression_config
    if not config:
        return None
    try:
        return parse_fp8_checkpoint(config, tied=bool(file.tie_word_embeddings))
    except ValueError as error:
        raise UnsupportedModel(f"config.json: {error}") from error


def _parse_eos(file: ConfigFile, generation: GenerationFile) -> tuple[int, ...]:
    """Prefers generation_config.json, which lists every end-of-turn token. An id outside the vocabulary never comes."""
    value = file.eos_token_id if generation.eos_token_id is None else generation.eos_token_id
    tokens = value if isinstance(value, list) else [] if value is None else [value]
    return tuple(token for token in tokens if token < file.vocab_size)
