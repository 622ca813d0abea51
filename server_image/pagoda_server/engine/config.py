"""The engine's settings, built once by the program that starts it; nothing here reads the environment."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pagoda_guard.settings import Setting, check

Device = Literal["auto", "cpu", "cuda"]
Dtype = Literal["auto", "float32", "bfloat16", "float16"]
Quantization = Literal["none", "fp8"]
KvCacheDtype = Literal["auto", "fp8"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    model: Annotated[Path, Setting("the folder with the model's files: config.json and safetensors")]
    socket: Annotated[Path, Setting("the unix socket at which the engine listens")]
    device: Annotated[Device, Setting("where the model runs; auto: on CUDA where there is some")] = "auto"
    dtype: Annotated[Dtype, Setting("type of the activations; auto: float32 on CPU, the checkpoint's on CUDA")] = "auto"
    quantization: Annotated[
        Quantization,
        Setting("weights of the projections; none: as they are stored, fp8: wider ones are quantized as they load"),
    ] = "none"
    kv_cache_dtype: Annotated[KvCacheDtype, Setting("type of keys and values; auto: as the activations")] = "auto"
    max_model_len: Annotated[
        int | None,
        Setting("the maximum of a prompt and its answer; by default the model's, cut to what pages hold", minimum=2),
    ] = None
    max_num_seqs: Annotated[int, Setting("the maximum of sequences in a batch", minimum=1)] = 256
    max_batched_tokens: Annotated[int, Setting("the maximum of tokens in a step, decodes included", minimum=1)] = 2048
    tensor_parallel: Annotated[
        int, Setting("ranks that the model is divided over, each a process with a GPU of its own", minimum=1)
    ] = 1
    max_wait_seconds: Annotated[
        float, Setting("the longest wait for a turn; then a request is refused, to be tried elsewhere", above=0)
    ] = 60.0
    gpu_memory_fraction: Annotated[
        float, Setting("share of each GPU's memory for weights, activations and KV pages", above=0, maximum=1)
    ] = 0.9
    kv_cache_bytes: Annotated[
        int, Setting("memory of the KV pages on CPU, of all ranks together", minimum=1, has_flag=False)
    ] = 512 * 1024 * 1024
    page_size: Annotated[int, Setting("tokens of a KV page", minimum=1, has_flag=False)] = 64
    prefix_caching: Annotated[bool, Setting("reuse of the pages of equal prefixes")] = True
    measure_capacity: bool = True
    deterministic: Annotated[
        bool, Setting("the same tokens whatever runs beside a request, on a GPU in 16 bits; slower")
    ] = False
    measure_projections: Annotated[
        bool,
        Setting("small-batch kernels of our own, chosen by timing them beside cuBLAS at start, on a GPU"),
    ] = True

    def __post_init__(self) -> None:
        check(self)
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
