"""From settings to an engine ready to step: model, pages, runner, capacity. All that is decided once, at start.

Each rank of a divided model goes the same way: it loads its part, the ranks agree on sizes, each builds its runner.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from pagoda_server.engine.batch import Limits
from pagoda_server.engine.config import EngineConfig
from pagoda_server.engine.constraint import FillMasks, GrammarCompiler
from pagoda_server.engine.engine import Engine
from pagoda_server.engine.pages import PagePool
from pagoda_server.engine.runner import Runner
from pagoda_server.grammar.compiler import open_compiler
from pagoda_server.kernels.e4m3 import E4M3
from pagoda_server.model.config import divide, read_model_config
from pagoda_server.model.llama import Llama
from pagoda_server.model.loader import load_model
from pagoda_server.model.shard import Shard
from pagoda_server.parallel.group import join_group, leave_group
from pagoda_server.parallel.leader import Followers
from pagoda_server.start.device import choose_device, choose_dtype, refuse_fp8_before_ada
from pagoda_server.start.measure_capacity import measure_capacity
from pagoda_server.start.phases import Phases
from pagoda_server.start.refusals import refuse_settings
from pagoda_server.start.runner import RunnerOptions, build_runner
from pagoda_server.start.sizes import build_limits, count_pages, fit_model_len
from pagoda_server.wire import Hello

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BuiltEngine:
    engine: Engine
    hello: Hello
    close: Callable[[], None] = lambda: None
    """Ends the other ranks and the compiler. Call it once the engine steps no more."""
    compiler: GrammarCompiler | None = None


@dataclass(frozen=True, slots=True)
class LoadedRank:
    """One rank's part of the model, and how many pages fit beside it."""

    model: Llama
    kv_dtype: torch.dtype
    num_pages: int

    def build_runner(self, config: EngineConfig, limits: Limits, num_pages: int, phases: Phases) -> Runner:
        """Builds this rank's runner. NB: on a GPU it captures graphs, which takes all ranks."""
        options = RunnerOptions(
            limits=limits,
            num_pages=num_pages,
            page_size=config.page_size,
            kv_dtype=self.kv_dtype,
            measure_projections=config.measure_projections,
            deterministic=config.deterministic,
        )
        return build_runner(self.model, options, phases)


def build_engine(config: EngineConfig, phases: Phases | None = None) -> BuiltEngine:
    """Builds it with the ranks that `config.tensor_parallel` asks for, of which this process is the first.

    Raises `UnsupportedModel` or ValueError with the field to change. `phases` are timed, and ended here.
    """
    phases = phases or Phases()
    model_config = read_model_config(config.model)
    refuse_settings(config, model_config)
    check_gpus(config)
    compiler = open_compiler(config.model, model_config.vocab_size, model_config.eos_token_ids)
    followers = Followers(config)

    def close() -> None:
        compiler.close()
        leave_group(orderly=followers.close())
        # NB: not before, for NCCL's monitor reads it once per second and waits for minutes for a file that is gone
        followers.store.unlink(missing_ok=True)

    try:
        engine, hello = _build_with(followers, config, compiler.fill, phases)
    except BaseException:
        close()
        raise
    return BuiltEngine(engine, hello, close, compiler)


def check_gpus(config: EngineConfig) -> None:
    """Raises, before any process is started, for a machine that cannot be divided so."""
    present = torch.cuda.device_count()
    if choose_device(config).type == "cuda" and config.tensor_parallel > present:
        raise ValueError(f"tensor_parallel is {config.tensor_parallel} but this machine has {present} GPUs; lower it")


def load_rank(config: EngineConfig, shard: Shard, store: Path, phases: Phases) -> LoadedRank:
    """Loads this rank's part. It waits for the other ranks, if there are any: they meet at the file `store`."""
    with phases.time("read_config"):
        model_config = divide(read_model_config(config.model), shard)
    with phases.time("open_device"):
        device, dtype = choose_device(config, shard.rank), choose_dtype(config, model_config)
        refuse_fp8_before_ada(config, model_config, device)
        if device.type == "cuda":
            torch.cuda.set_device(device)
        torch.zeros(1, device=device)
        group = join_group(shard, device, store)
    with phases.time("load_weights"):
        model = load_model(config.model, model_config, device, dtype, fp8=config.quantization == "fp8", group=group)
    kv_dtype = E4M3 if config.kv_cache_dtype == "fp8" else dtype
    return LoadedRank(model, kv_dtype, count_pages(config, model_config, device, dtype, kv_dtype))


def _build_with(
    followers: Followers, config: EngineConfig, fill_masks: FillMasks, phases: Phases
) -> tuple[Engine, Hello]:
    loaded = load_rank(config, Shard(0, config.tensor_parallel), followers.store, phases)
    limits, pool = _agree_on_sizes(followers, config, loaded)
    # NB: nothing here may hold the leader's own runner: NCCL waits for its graphs when the group is left
    runner = followers.wrap_runner(loaded.build_runner(config, limits, pool.total_pages, phases), limits.max_num_seqs)
    with phases.time("measure_capacity"):
        measured = measure_capacity(runner, limits, pool) if config.measure_capacity else None
    engine = Engine(
        runner,
        limits,
        pool,
        prefix_caching=config.prefix_caching,
        max_wait_seconds=config.max_wait_seconds,
        measured=measured,
        fill_masks=fill_masks,
    )
    _log_built(config, loaded, engine)
    phases.end()
    return engine, _build_hello(config, loaded, limits, phases)


def _agree_on_sizes(followers: Followers, config: EngineConfig, loaded: LoadedRank) -> tuple[Limits, PagePool]:
    """Agrees with all ranks; then the followers build their runners, which waits for the leader to build its own."""
    num_pages = followers.agree_on_pages(loaded.num_pages)
    max_model_len = fit_model_len(config, loaded.model.config, num_pages)
    limits = build_limits(config, loaded.model.config, max_model_len)
    followers.begin(num_pages, max_model_len)
    return limits, PagePool(num_pages, config.page_size)


def _log_built(config: EngineConfig, loaded: LoadedRank, engine: Engine) -> None:
    dtype, stats = loaded.model.embedding.dtype, engine.stats()
    log.info(
        "engine built device=%s ranks=%d dtype=%s weights=%s kv_cache=%s pages=%d max_model_len=%d capacity=%s",
        loaded.model.embedding.device,
        config.tensor_parallel,
        dtype,
        "fp8" if config.quantization == "fp8" or loaded.model.config.quantization else dtype,
        loaded.kv_dtype,
        stats.total_pages,
        engine.scheduler.limits.max_model_len,
        stats.capacity_tokens_per_second,
    )


def _build_hello(config: EngineConfig, loaded: LoadedRank, limits: Limits, phases: Phases) -> Hello:
    embedding = loaded.model.embedding
    return Hello(
        max_model_len=limits.max_model_len,
        max_num_seqs=limits.max_num_seqs,
        vocab_size=limits.vocab_size,
        eos_token_ids=list(limits.eos_token_ids),
        device=embedding.device.type,
        dtype=str(embedding.dtype).removeprefix("torch."),
        start_seconds=phases.seconds,
        started_at_seconds=time.time() - phases.seconds["total"],
        page_size=config.page_size,
        kv_cache_dtype="fp8" if loaded.kv_dtype == E4M3 else str(loaded.kv_dtype).removeprefix("torch."),
        prefix_caching=config.prefix_caching,
    )
