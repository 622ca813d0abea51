"""On which device, and in which type of number, a model is served; and what is refused there, by field and value."""

import torch

from pagoda_server.engine.config import EngineConfig
from pagoda_server.model.config import ModelConfig, UnsupportedModel

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_device(config: EngineConfig, rank: int = 0) -> torch.device:
    name: str = config.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device is 'cuda' but this machine has no CUDA GPU; give 'cpu' or 'auto'")
    return torch.device(name, rank) if name == "cuda" else torch.device(name)


def refuse_fp8_before_ada(config: EngineConfig, model: ModelConfig, device: torch.device) -> None:
    """Raises ValueError for fp8 on a GPU of less than compute capability 8.9, which cannot convert e4m3 in hardware."""
    wanted = {
        f"quantization is {config.quantization!r}": config.quantization == "fp8",
        "the model's weights are fp8": model.quantization is not None,
        f"kv_cache_dtype is {config.kv_cache_dtype!r}": config.kv_cache_dtype == "fp8",
    }
    reasons = [reason for reason, is_wanted in wanted.items() if is_wanted]
    if device.type != "cuda" or not reasons:
        return
    major, minor = torch.cuda.get_device_capability(device)
    if (major, minor) < (8, 9):
        raise ValueError(
            f"{' and '.join(reasons)}, but this GPU is of compute capability {major}.{minor} and fp8 needs 8.9 "
            "(L4, L40S, H100 or later); serve bf16 weights with quantization 'none' and kv_cache_dtype 'auto'"
        )


def choose_dtype(config: EngineConfig, model: ModelConfig) -> torch.dtype:
    name: str = config.dtype
    if name == "auto":
        name = "float32" if choose_device(config).type == "cpu" else model.dtype
    if name not in DTYPES:
        raise UnsupportedModel(f"config.json: dtype is {name!r}; supported are {', '.join(DTYPES)}")
    return DTYPES[name]
