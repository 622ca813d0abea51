"""From settings to an engine ready to step: model, pages, runner, capacity. All that is decided once, at start."""

import logging
from dataclasses import dataclass

import torch

from pagoda_server.engine.config import EngineConfig
from pagoda_server.engine.pages import PagePool
from pagoda_server.engine.scheduler import Limits
from pagoda_server.engine.step import Engine, Runner
from pagoda_server.model.config import ModelConfig, UnsupportedModel, read_model_config
from pagoda_server.model.llama import Llama
from pagoda_server.model.loader import load_model
from pagoda_server.phases import Phases
from pagoda_server.quant.fp8 import E4M3
from pagoda_server.runtime.cache import count_page_bytes
from pagoda_server.runtime.capacity import measure_capacity
from pagoda_server.runtime.graphs import choose_buckets
from pagoda_server.runtime.runner import ModelRunner
from pagoda_server.wire import Hello

log = logging.getLogger(__name__)
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, slots=True)
class BuiltEngine:
    engine: Engine
    hello: Hello


def build_engine(config: EngineConfig, phases: Phases | None = None) -> BuiltEngine:
    """Raises `UnsupportedModel` or ValueError with the field to change. `phases` are timed, and ended here."""
    phases = phases or Phases()
    with phases.time("read_config"):
        model_config = read_model_config(config.model)
    with phases.time("open_device"):
        device, dtype = choose_device(config), choose_dtype(config, model_config)
        refuse_fp8_before_ada(config, model_config, device)
        torch.zeros(1, device=device)
    if config.deterministic and (config.quantization == "fp8" or model_config.quantization is not None):
        raise ValueError(
            "deterministic is set but the weights are fp8, whose product depends on the batch; "
            "serve 16-bit weights with quantization 'none' (an fp8 KV cache is fine), or leave it off"
        )
    with phases.time("load_weights"):
        model = load_model(config.model, model_config, device, dtype, fp8=config.quantization == "fp8")
    limits_len = choose_model_len(config, model_config)
    kv_dtype = E4M3 if config.kv_cache_dtype == "fp8" else dtype
    num_pages = count_pages(config, model_config, device, dtype, kv_dtype)
    max_model_len = min(limits_len, num_pages * config.page_size)
    if config.max_model_len is not None and max_model_len < config.max_model_len:
        raise ValueError(
            f"max_model_len is {config.max_model_len} but the KV pages hold {max_model_len} tokens; "
            "lower it, or raise kv_cache_bytes (CPU) or gpu_memory_fraction (GPU)"
        )
    limits = Limits(
        max_model_len=max_model_len,
        max_num_seqs=config.max_num_seqs,
        max_num_batched_tokens=config.max_batched_tokens,
        vocab_size=model_config.vocab_size,
        eos_token_ids=model_config.eos_token_ids,
    )
    pool = PagePool(num_pages, config.page_size)
    runner = build_runner(
        model,
        limits,
        num_pages,
        config.page_size,
        kv_dtype=kv_dtype,
        phases=phases,
        measure_projections=config.measure_projections,
        deterministic=config.deterministic,
    )
    with phases.time("measure_capacity"):
        measured = measure_capacity(runner, limits, pool) if config.measure_capacity else None
    capacity = None if measured is None else measured.tokens_per_second
    log.info(
        "engine built: device=%s dtype=%s weights=%s kv_cache=%s pages=%d max_model_len=%d capacity=%s",
        device,
        dtype,
        "fp8" if config.quantization == "fp8" or model_config.quantization else dtype,
        kv_dtype,
        num_pages,
        max_model_len,
        capacity,
    )
    engine = Engine(
        runner,
        limits,
        pool,
        prefix_caching=config.prefix_caching,
        capacity_tokens_per_second=capacity,
        step_cost=None if measured is None else measured.step_cost,
    )
    phases.end()
    hello = Hello(
        max_model_len=max_model_len,
        max_num_seqs=config.max_num_seqs,
        vocab_size=model_config.vocab_size,
        eos_token_ids=list(model_config.eos_token_ids),
        device=device.type,
        dtype=str(dtype).removeprefix("torch."),
        start_seconds=phases.seconds,
    )
    return BuiltEngine(engine, hello)


def build_runner(
    model: Llama,
    limits: Limits,
    num_pages: int,
    page_size: int,
    *,
    phases: Phases | None = None,
    kv_dtype: torch.dtype | None = None,
    measure_projections: bool = False,
    deterministic: bool = False,
) -> Runner:
    """Our kernels on a GPU in 16 bits; the reference elsewhere and for shapes that the kernels do not know.

    Raises ValueError when it cannot be `deterministic`.
    """
    phases = phases or Phases()
    config, dtype = model.config, model.embedding.dtype
    fits = config.num_heads // config.num_kv_heads <= 16 and config.head_dim <= 256
    if model.embedding.device.type == "cuda" and dtype != torch.float32 and fits:
        return _build_gpu_runner(
            model, limits, num_pages, page_size, phases, kv_dtype, measure_projections, deterministic
        )
    if deterministic:
        raise ValueError(
            f"deterministic is set but {dtype} on {model.embedding.device.type} has no kernels for it; "
            "serve in bfloat16 or float16 on a CUDA GPU, or leave it off"
        )
    with phases.time("build_runner"):
        return ModelRunner(model, num_pages, page_size, kv_dtype)


def _build_gpu_runner(
    model: Llama,
    limits: Limits,
    num_pages: int,
    page_size: int,
    phases: Phases,
    kv_dtype: torch.dtype | None,
    measure_projections: bool,
    deterministic: bool,
) -> Runner:
    with phases.time("build_runner"):
        # Triton compiles for a GPU, or is absent.
        from pagoda_server.kernels.shipped import use_shipped_kernels
        from pagoda_server.runtime.gpu_runner import GpuRunner
        from pagoda_server.runtime.measure_linears import measure_linears

        use_shipped_kernels()
        linears = measure_linears(model, choose_buckets(limits.max_num_seqs)) if measure_projections else None
        runner = GpuRunner(
            model, limits, num_pages, page_size, kv_dtype=kv_dtype, linears=linears, deterministic=deterministic
        )
    with phases.time("capture_graphs"):
        runner.capture_first()
    return runner


def choose_device(config: EngineConfig) -> torch.device:
    name = config.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device is 'cuda' but this machine has no CUDA GPU; give 'cpu' or 'auto'")
    return torch.device(name)


def refuse_fp8_before_ada(config: EngineConfig, model: ModelConfig, device: torch.device) -> None:
    """The kernels convert to and from e4m3 in hardware, which came with compute capability 8.9."""
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


def choose_model_len(config: EngineConfig, model: ModelConfig) -> int:
    if config.max_model_len is None:
        return model.max_position_embeddings
    if config.max_model_len > model.max_position_embeddings:
        raise ValueError(
            f"max_model_len is {config.max_model_len} but the model knows "
            f"{model.max_position_embeddings} positions; lower it"
        )
    return config.max_model_len


def count_pages(
    config: EngineConfig, model: ModelConfig, device: torch.device, dtype: torch.dtype, kv_dtype: torch.dtype
) -> int:
    """Pages in the memory left beside weights (already loaded) and activations (estimated)."""
    page_bytes = count_page_bytes(model, config.page_size, kv_dtype)
    if device.type == "cpu":
        budget_bytes = config.kv_cache_bytes
    else:
        free_bytes, total_bytes = torch.cuda.mem_get_info(device)
        unused_share_bytes = int(total_bytes * (1.0 - config.gpu_memory_fraction))
        budget_bytes = free_bytes - unused_share_bytes - estimate_activation_bytes(config, model, dtype)
    if budget_bytes < page_bytes:
        raise ValueError(
            f"{budget_bytes} bytes are left for KV pages of {page_bytes} bytes each; "
            "raise kv_cache_bytes (CPU) or gpu_memory_fraction (GPU), or lower max_batched_tokens"
        )
    return budget_bytes // page_bytes


def estimate_activation_bytes(config: EngineConfig, model: ModelConfig, dtype: torch.dtype) -> int:
    """A step's peak, generously: the widest activations of all its tokens, and four float32 copies of the logits."""
    token_bytes = dtype.itemsize * (6 * model.hidden_size + 4 * model.intermediate_size)
    return config.max_batched_tokens * token_bytes + config.max_num_seqs * model.vocab_size * 16
