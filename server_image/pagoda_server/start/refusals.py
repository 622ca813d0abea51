"""What is refused of settings and a model's configuration together, before a weight is read or fetched.

`python -m pagoda_server check` says the same in a moment. Nothing here may import torch.
"""

from pagoda_server.engine.config import EngineConfig
from pagoda_server.model.config import ModelConfig, divide
from pagoda_server.model.shard import Shard


def refuse_settings(config: EngineConfig, model: ModelConfig) -> None:
    """Raises `UnsupportedModel` or ValueError with the field to change."""
    divide(model, Shard(0, config.tensor_parallel))
    refuse_long(config, model)
    refuse_deterministic_fp8(config, model)


def refuse_long(config: EngineConfig, model: ModelConfig) -> None:
    if config.max_model_len is not None and config.max_model_len > model.max_position_embeddings:
        raise ValueError(
            f"max_model_len is {config.max_model_len} but the model knows "
            f"{model.max_position_embeddings} positions; lower it"
        )


def refuse_deterministic_fp8(config: EngineConfig, model: ModelConfig) -> None:
    """Raises ValueError for deterministic fp8 weights: their product depends on the batch."""
    if config.deterministic and (config.quantization == "fp8" or model.quantization is not None):
        raise ValueError(
            "deterministic is set but the weights are fp8, whose product depends on the batch; "
            "serve 16-bit weights with quantization 'none' (an fp8 KV cache is fine), or leave it off"
        )
