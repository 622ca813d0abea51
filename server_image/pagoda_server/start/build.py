"""From settings to an engine ready to step: model, pages, runner, capacity. All that is decided once, at start.

Each rank of a divided model goes the same way: it loads its part, the ranks agree on sizes, each builds its runner.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from pagoda_server.engine.batch import Limits
from pagoda_server.engine.config import EngineConfig
from pagoda_server.engine.engine import Engine
from pagoda_server.engine.pages import PagePool
from pagoda_server.engine.runner import Runner
from pagoda_server.model.config import ModelConfig, UnsupportedModel, divide, read_model_config
from pagoda_server.model.llama import Llama
from pagoda_server.model.loader import load_model
from pagoda_server.model.shard import Shard
from pagoda_server.parallel.group import join_group, leave_group
from pagoda_server.parallel.leader import Followers
from pagoda_server.quant.fp8 import E4M3
from pagoda_server.runtime.reference.runner import ModelRunner
from pagoda_server.start.measure_capacity import measure_capacity
from pagoda_server.start.phases import Phases
from pagoda_server.start.sizes import build_limits, count_pages, fit_model_len
from pagoda_server.wire import Hello

log = logging.getLogger(__name__)
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, slots=True)
class BuiltEngine:
    engine: Engine
    hello: Hello
    close: Callable[[], None] = lambda: None
    """Ends the other ranks. Call it once the engine steps no more."""


@dataclass(frozen=True, slots=True)
class LoadedRank:
    """One rank's part of the model, and how many pages fit beside it."""

    model: Llama
    kv_dtype: torch.dtype
    num_pages: int

    def build_runner(self, config: EngineConfig, limits: Limits, num_pages: int, phases: Phases) -> Runner:
        """NB: on a GPU it captures graphs, which takes all ranks."""
        return build_runner(
            self.model,
            limits,
            num_pages,
            config.page_size,
            phases=phases,
            kv_dtype=self.kv_dtype,
            measure_projections=config.measure_projections,
            deterministic=config.deterministic,
        )


def build_engine(config: EngineConfig, phases: Phases | None = None) -> BuiltEngine:
    """With the ranks that `config.tensor_parallel` asks for: this process is the first of them.

    Raises `UnsupportedModel` or ValueError with the field to change. `phases` are timed, and ended here.
    """
    phases = phases or Phases()
    check_ranks(config)
    followers = Followers(config)

    def close() -> None:
        leave_group(orderly=followers.close())
        # NB: not before, for NCCL's monitor reads it once a second and waits for minutes for a file that is gone
        followers.store.unlink(missing_ok=True)

    try:
        engine, hello = _build_with(followers, config, phases)
    except BaseException:
        close()
        raise
    return BuiltEngine(engine, hello, close)


def check_ranks(config: EngineConfig) -> None:
    """Before any process is started."""
    divide(read_model_config(config.model), Shard(0, config.tensor_parallel))
    present = torch.cuda.device_count()
    if choose_device(config).type == "cuda" and config.tensor_parallel > present:
        raise ValueError(f"tensor_parallel is {config.tensor_parallel} but this machine has {present} GPUs; lower it")


def load_rank(config: EngineConfig, shard: Shard, store: Path, phases: Phases) -> LoadedRank:
    """Waits for the other ranks, if there are any: they meet at the file `store`."""
    with phases.time("read_config"):
        model_config = divide(read_model_config(config.model), shard)
    with phases.time("open_device"):
        device, dtype = choose_device(config, shard.rank), choose_dtype(config, model_config)
        refuse_fp8_before_ada(config, model_config, device)
        refuse_deterministic_fp8(config, model_config)
        if device.type == "cuda":
            torch.cuda.set_device(device)
        torch.zeros(1, device=device)
        group = join_group(shard, device, store)
    with phases.time("load_weights"):
        model = load_model(config.model, model_config, device, dtype, fp8=config.quantization == "fp8", group=group)
    kv_dtype = E4M3 if config.kv_cache_dtype == "fp8" else dtype
    return LoadedRank(model, kv_dtype, count_pages(config, model_config, device, dtype, kv_dtype))


def _build_with(followers: Followers, config: EngineConfig, phases: Phases) -> tuple[Engine, Hello]:
    loaded = load_rank(config, Shard(0, config.tensor_parallel), followers.store, phases)
    num_pages = followers.agree_on_pages(loaded.num_pages)
    max_model_len = fit_model_len(config, loaded.model.config, num_pages)
    limits = build_limits(config, loaded.model.config, max_model_len)
    followers.begin(num_pages, max_model_len)
    runner = followers.wrap_runner(loaded.build_runner(config, limits, num_pages, phases), limits.max_num_seqs)
    pool = PagePool(num_pages, config.page_size)
    with phases.time("measure_capacity"):
        measured = measure_capacity(runner, limits, pool) if config.measure_capacity else None
    capacity = None if measured is None else measured.tokens_per_second
    device, dtype = loaded.model.embedding.device, loaded.model.embedding.dtype
    log.info(
        "engine built: device=%s ranks=%d dtype=%s weights=%s kv_cache=%s pages=%d max_model_len=%d capacity=%s",
        device,
        config.tensor_parallel,
        dtype,
        "fp8" if config.quantization == "fp8" or loaded.model.config.quantization else dtype,
        loaded.kv_dtype,
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
        max_wait_seconds=config.max_wait_seconds,
    )
    phases.end()
    hello = Hello(
        max_model_len=max_model_len,
        max_num_seqs=limits.max_num_seqs,
        vocab_size=limits.vocab_size,
        eos_token_ids=list(limits.eos_token_ids),
        device=device.type,
        dtype=str(dtype).removeprefix("torch."),
        start_seconds=phases.seconds,
    )
    return engine, hello


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
        from pagoda_server.runtime.gpu.runner import GpuRunner
        from pagoda_server.start.measure_projections import measure_linears

        use_shipped_kernels()
        is_measured = measure_projections and not deterministic
        linears = measure_linears(model, limits.max_num_seqs) if is_measured else None
        runner = GpuRunner(
            model, limits, num_pages, page_size, kv_dtype=kv_dtype, linears=linears, deterministic=deterministic
        )
    with phases.time("capture_graphs"):
        runner.capture_first()
    return runner


def choose_device(config: EngineConfig, rank: int = 0) -> torch.device:
    name: str = config.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device is 'cuda' but this machine has no CUDA GPU; give 'cpu' or 'auto'")
    return torch.device(name, rank) if name == "cuda" else torch.device(name)


def refuse_deterministic_fp8(config: EngineConfig, model: ModelConfig) -> None:
    """The fp8 product depends on the batch."""
    if config.deterministic and (config.quantization == "fp8" or model.quantization is not None):
        raise ValueError(
            "deterministic is set but the weights are fp8, whose product depends on the batch; "
            "serve 16-bit weights with quantization 'none' (an fp8 KV cache is fine), or leave it off"
        )


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
