"""What is refused of settings and a model's configuration together, before a weight is read or fetched.

`python -m pagoda_server check` says the same in a moment. Nothing here may import torch.
"""

from pathlib import Path

from pagoda_server.engine.config import EngineConfig
from pagoda_server.model.config import ModelConfig, divide
from pagoda_server.model.shard import Shard

MEMORY = Path("/proc/meminfo")


def refuse_settings(config: EngineConfig, model: ModelConfig) -> None:
    """Raises `UnsupportedModel` or ValueError with the field to change."""
    divide(model, Shard(0, config.tensor_parallel))
    refuse_long(config, model)
    refuse_deterministic_fp8(config, model)
    refuse_large(config, model, read_memory_bytes())


def refuse_long(config: EngineConfig, model: ModelConfig) -> None:
    if config.max_model_len is not None and config.max_model_len > model.max_position_embeddings:
        raise ValueError(
            f"max_model_len is {config.max_model_len} but the model knows "
            f"{model.max_position_embeddings} positions; lower it"
        )


def refuse_large(config: EngineConfig, model: ModelConfig, memory_bytes: int | None) -> None:
    """Raises ValueError for weights that this machine could not even hold on the CPU."""
    if config.device != "cpu" or config.quantization == "fp8" or model.quantization is not None:
        return
    value_bytes = 4 if config.dtype in ("auto", "float32") else 2
    needed_bytes = count_weights(model) * value_bytes
    if memory_bytes is not None and needed_bytes > memory_bytes:
        fix = "give 'bfloat16', or " if needed_bytes // value_bytes * 2 <= memory_bytes else ""
        raise ValueError(
            f"dtype is {config.dtype!r}, in which the weights take {needed_bytes / 1e9:.1f} GB on the CPU, and this "
            f"machine has {memory_bytes / 1e9:.1f} GB of memory; {fix}serve a smaller model"
        )


def count_weights(model: ModelConfig) -> int:
    """Counts the values of all matrices. NB: not norms and biases, so that it is never too many."""
    heads = 2 * (model.num_heads + model.num_kv_heads) * model.head_dim * model.hidden_size
    layer = heads + 3 * model.hidden_size * model.intermediate_size
    return model.num_layers * layer + (1 if model.tie_word_embeddings else 2) * model.vocab_size * model.hidden_size


def read_memory_bytes(path: Path = MEMORY) -> int | None:
    """Reads memory and swap of this machine; None where Linux does not say."""
    try:
        sizes = dict(line.split(":") for line in path.read_text().splitlines())
        return sum(int(sizes[name].split()[0]) for name in ("MemTotal", "SwapTotal")) * 1024
    except (OSError, ValueError, KeyError):
        return None


def refuse_deterministic_fp8(config: EngineConfig, model: ModelConfig) -> None:
    """Raises ValueError for deterministic fp8 weights: their product depends on the batch."""
    if config.deterministic and (config.quantization == "fp8" or model.quantization is not None):
        raise ValueError(
            "deterministic is set but the weights are fp8, whose product depends on the batch; "
            "serve 16-bit weights with quantization 'none' (an fp8 KV cache is fine), or leave it off"
        )
