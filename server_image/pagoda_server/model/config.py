"""What `config.json` says of the decoder.

Anything the engine would compute wrongly is refused here, by name, before weights are read.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pagoda_server.model.shard import Shard
from pagoda_server.quant.checkpoint import Fp8Checkpoint, parse_fp8_checkpoint

SUPPORTED = ("LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM")


class UnsupportedModel(Exception):
    """The model folder cannot be served; the message names the field, the value and what is supported."""


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
    """Raises `UnsupportedModel`, or FileNotFoundError when there is no config.json."""
    raw = json.loads((folder / "config.json").read_text())
    generation_path = folder / "generation_config.json"
    generation = json.loads(generation_path.read_text()) if generation_path.exists() else {}
    return parse_model_config(raw, generation)


def divide(config: ModelConfig, shard: Shard) -> ModelConfig:
    """What one rank holds of the decoder.

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


def parse_model_config(raw: dict[str, Any], generation: dict[str, Any]) -> ModelConfig:
    architecture = _parse_architecture(raw)
    _refuse_unsupported(raw)
    qwen2, qwen3 = architecture == "Qwen2ForCausalLM", architecture == "Qwen3ForCausalLM"
    attention_bias = bool(raw.get("attention_bias", False)) and not qwen2
    theta, scaling = _parse_rope(raw)
    num_heads, hidden_size = int(raw["num_attention_heads"]), int(raw["hidden_size"])
    return ModelConfig(
        architecture=architecture,
        vocab_size=int(raw["vocab_size"]),
        hidden_size=hidden_size,
        intermediate_size=int(raw["intermediate_size"]),
        num_layers=int(raw["num_hidden_layers"]),
        num_heads=num_heads,
        num_kv_heads=int(raw.get("num_key_value_heads") or num_heads),
        head_dim=int(raw.get("head_dim") or (128 if qwen3 else hidden_size // num_heads)),
        rms_norm_eps=float(raw.get("rms_norm_eps", 1e-6)),
        max_position_embeddings=int(raw.get("max_position_embeddings", 2048)),
        rope_theta=theta,
        rope_scaling=scaling,
        tie_word_embeddings=bool(raw.get("tie_word_embeddings", False)),
        qkv_bias=qwen2 or attention_bias,
        output_bias=attention_bias,
        mlp_bias=bool(raw.get("mlp_bias", False)) and architecture == "LlamaForCausalLM",
        qk_norm=qwen3,
        dtype=str(raw.get("dtype") or raw.get("torch_dtype") or "float32"),
        eos_token_ids=_parse_eos(raw, generation),
        quantization=_parse_quantization(raw),
    )


def _parse_architecture(raw: dict[str, Any]) -> str:
    architectures = raw.get("architectures") or []
    if len(architectures) != 1 or architectures[0] not in SUPPORTED:
        raise UnsupportedModel(f"config.json: architectures is {architectures}; supported are {', '.join(SUPPORTED)}")
    return str(architectures[0])


def _refuse_unsupported(raw: dict[str, Any]) -> None:
    if raw.get("auto_map"):
        raise UnsupportedModel(
            "config.json: auto_map names code in the model folder, which is never run; use a model without it"
        )
    activation = raw.get("hidden_act", "silu")
    if activation != "silu":
        raise UnsupportedModel(f"config.json: hidden_act is {activation!r}; supported is 'silu'")
    if _uses_sliding_window(raw):
        raise UnsupportedModel(
            f"config.json: sliding_window is {raw.get('sliding_window')}; only full attention is supported, "
            "use a checkpoint whose sliding_window is null"
        )


def _uses_sliding_window(raw: dict[str, Any]) -> bool:
    if any(layer != "full_attention" for layer in raw.get("layer_types") or []):
        return True
    return bool(raw.get("sliding_window")) and bool(
        raw.get("use_sliding_window", raw["architectures"] == ["MistralForCausalLM"])
    )


def _parse_rope(raw: dict[str, Any]) -> tuple[float, Llama3Rope | None]:
    """transformers 5 writes one `rope_parameters`, earlier ones `rope_theta` and `rope_scaling`."""
    parameters = {**(raw.get("rope_scaling") or {}), **(raw.get("rope_parameters") or {})}
    theta = float(parameters.get("rope_theta", raw.get("rope_theta", 10000.0)))
    rope_type = parameters.get("rope_type", parameters.get("type", "default"))
    if float(parameters.get("partial_rotary_factor", raw.get("partial_rotary_factor", 1.0))) != 1.0:
        raise UnsupportedModel("config.json: partial_rotary_factor is not 1; only full rotary embeddings are supported")
    if rope_type == "default":
        return theta, None
    if rope_type != "llama3":
        raise UnsupportedModel(f"config.json: rope_type is {rope_type!r}; supported are 'default' and 'llama3'")
    return theta, Llama3Rope(
        factor=float(parameters["factor"]),
        low_freq_factor=float(parameters["low_freq_factor"]),
        high_freq_factor=float(parameters["high_freq_factor"]),
        original_max_position_embeddings=int(parameters["original_max_position_embeddings"]),
    )


def _parse_quantization(raw: dict[str, Any]) -> Fp8Checkpoint | None:
    config = raw.get("quantization_config") or raw.get("compression_config")  # its older name
    if not config:
        return None
    try:
        return parse_fp8_checkpoint(config, tied=bool(raw.get("tie_word_embeddings", False)))
    except ValueError as error:
        raise UnsupportedModel(f"config.json: {error}") from error


def _parse_eos(raw: dict[str, Any], generation: dict[str, Any]) -> tuple[int, ...]:
    """generation_config.json wins: it lists every end-of-turn token."""
    value = generation.get("eos_token_id")
    value = raw.get("eos_token_id") if value is None else value
    if value is None:
        return ()
    return tuple(value) if isinstance(value, list) else (int(value),)
