"""The engine's settings, built once by the program that starts it; nothing here reads the environment."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Device = Literal["auto", "cpu", "cuda"]
Dtype = Literal["auto", "float32", "bfloat16", "float16"]
Quantization = Literal["none", "fp8"]
KvCacheDtype = Literal["auto", "fp8"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    model: Path
    """A folder with config.json and safetensors."""
    socket: Path
    """The unix socket at which the engine listens."""
    device: Device = "auto"
    dtype: Dtype = "auto"
    """auto: float32 on CPU, the checkpoint's own type on CUDA."""
    quantization: Quantization = "none"
    """Of the layers' projections. none: as the checkpoint stores them; fp8: wider ones are quantized as they load."""
    kv_cache_dtype: KvCacheDtype = "auto"
    """auto: the activations' type."""
    max_model_len: int | None = None
    """Longest prompt and answer together, in tokens. None: the model's own, cut to what the KV pages hold."""
    max_num_seqs: int = 256
    max_batched_tokens: int = 2048
    """Most tokens of one step, prompts and decodes together."""
    tensor_parallel: int = 1
    """Ranks that the model is divided over, each a process with a GPU of its own."""
    max_wait_seconds: float = 60.0
    """Longest that a request waits for its turn; afterwards it is refused, to be tried elsewhere."""
    gpu_memory_fraction: float = 0.9
    """Share of each GPU's memory for weights, activations and KV pages together."""
    kv_cache_bytes: int = 512 * 1024 * 1024
    """Memory of the KV pages on CPU, of all ranks together."""
    page_size: int = 64
    prefix_caching: bool = True
    measure_capacity: bool = True
    deterministic: bool = False
    """A request's tokens are the same whatever runs beside it, on a GPU in 16 bits. Slower."""
    measure_projections: bool = True
    """Choose between cuBLAS and our small-batch kernels by timing both at start, on a GPU, if not `deterministic`."""

    def __post_init__(self) -> None:
        for name in ("max_num_seqs", "max_batched_tokens", "kv_cache_bytes", "page_size", "tensor_parallel"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; give at least 1")
        if self.max_model_len is not None and self.max_model_len < 2:
            raise ValueError(
                f"max_model_len is {self.max_model_len}; give at least 2 (one prompt token, one answer token)"
            )
        if not self.max_wait_seconds > 0.0:
            raise ValueError(f"max_wait_seconds is {self.max_wait_seconds}; give a number above 0")
        if not 0.0 < self.gpu_memory_fraction <= 1.0:
            raise ValueError(f"gpu_memory_fraction is {self.gpu_memory_fraction}; give a value above 0 and at most 1")
        if self.deterministic and self.tensor_parallel > 1:
            raise ValueError(
                f"deterministic is on and tensor_parallel is {self.tensor_parallel}: "
                "the order of a sum over GPUs depends on the batch; leave it off"
            )
        if self.max_batched_tokens < self.max_num_seqs:
            raise ValueError(
                f"max_batched_tokens is {self.max_batched_tokens}, below max_num_seqs {self.max_num_seqs}: "
                "every running sequence decodes in each step; raise the first or lower the second"
            )
