"""Compiles the kernels of common models for GPUs that are not there, for `kernels.shipped` to find.

The runner itself launches what it would launch, so nothing here knows which kernels there are, their constants, or how
their arguments are aligned: weights lie on torch's meta device (shapes without memory), and in the place of Triton's
driver stands one that names the target and launches nothing.
"""

import ctypes
import logging
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.backends.nvidia import driver as nvidia
from triton.runtime.driver import driver

from pagoda_server.engine.batch import Chunk, Limits
from pagoda_server.engine.config import EngineConfig
from pagoda_server.engine.request import Request, RequestState
from pagoda_server.kernels.e4m3 import E4M3
from pagoda_server.model.config import ModelConfig
from pagoda_server.model.llama import Llama
from pagoda_server.quant.fp8 import replace_linears
from pagoda_server.runtime.gpu.graphs import choose_buckets
from pagoda_server.runtime.gpu.runner import GpuRunner
from pagoda_server.start.common_shapes import COMMON_SHAPES, Shape
from pagoda_server.start.measure_projections import launch_candidates
from pagoda_server.wire import Sampling

log = logging.getLogger(__name__)
LIBCUDA = "libcuda.so.1"
FIRST_E4M3 = 89
"""The minimum compute capability, times ten, whose kernels know fp8."""
DEFAULTS = EngineConfig(model=Path(), socket=Path())
MAX_BATCH, PAGE_SIZE, MAX_TOKENS = DEFAULTS.max_num_seqs, DEFAULTS.page_size, DEFAULTS.max_batched_tokens
PROMPT_TOKENS = 20
UNALIGNED_PAGES = 3
"""A row of the page table is as long as the context or the KV cache: the pages of a sequence may be any number."""


@dataclass(frozen=True, slots=True)
class Task:
    model: str
    capability: int
    fp8: bool
    """Weights and KV cache."""


def plan_tasks(capabilities: Sequence[int], models: Sequence[str] | None = None) -> list[Task]:
    """Returns the tasks of these models, by default of all common ones. Raises ValueError."""
    unknown = sorted(set(models or ()) - COMMON_SHAPES.keys())
    if unknown:
        raise ValueError(f"models {unknown} are not known; give some of {', '.join(COMMON_SHAPES)}")
    return [
        Task(model, capability, fp8)
        for capability in capabilities
        for model in models or COMMON_SHAPES
        for fp8 in ((False, True) if capability >= FIRST_E4M3 else (False,))
    ]


def compile_common(tasks: Sequence[Task], folder: Path, jobs: int) -> None:
    """Compiles into `folder`, in so many processes. Raises what a compilation raises."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as stub:
        build_stub_libcuda(Path(stub))
        prepare = partial(prepare_process, folder, Path(stub))
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=prepare) as pool:
            for task, count in zip(tasks, pool.map(run_task, tasks), strict=True):
                log.info("kernels compiled model=%s sm=%d fp8=%s new=%d", task.model, task.capability, task.fp8, count)


def build_stub_libcuda(folder: Path) -> None:
    """Builds a library with the names of CUDA's that does nothing, to link launch stubs with and to load them."""
    source, header = folder / "stub.c", Path(nvidia.include_dirs[0], "cuda.h").read_text()
    names = sorted(set(re.findall(r"\b(cu[A-Z]\w*)\s*\(", header)))
    source.write_text("".join(f"void {name}(void) {{}}\n" for name in names))
    command = [os.environ.get("CC", "gcc"), "-shared", "-fPIC", "-w", f"-Wl,-soname,{LIBCUDA}"]
    subprocess.run([*command, "-o", folder / LIBCUDA, source], check=True)


def prepare_process(folder: Path, stub: Path) -> None:
    """Prepares this process for `run_task`. NB: it is good for nothing else then."""
    knobs.cache.dir, knobs.compilation.store_binary_only = str(folder), True
    knobs.nvidia.libcuda_path = str(stub)
    ctypes.CDLL(str(stub / LIBCUDA), mode=ctypes.RTLD_GLOBAL)
    nvidia.CudaUtils()


def run_task(task: Task) -> int:
    """Compiles what the task launches; returns how many kernels were not there yet."""
    compiled: list[str] = []
    knobs.compilation.listener = lambda *, src, cache_hit, **_: None if cache_hit else compiled.append(src.name)
    driver.set_active(AbsentGpu(task.capability))
    launch_all(build_two_layers(COMMON_SHAPES[task.model]), torch.device("meta"), fp8=task.fp8)
    return len(compiled)


class AbsentGpu:
    """What Triton asks of its driver, up to the launch. Stubs for launching are compiled as the real one does."""

    def __init__(self, capability: int) -> None:
        self.utils = self
        self._capability = capability

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", self._capability, 32)

    def get_current_device(self) -> int:
        """Returns another device for each target: Triton keeps what it knows of a device."""
        return self._capability

    def get_current_stream(self, device: int | None = None) -> int:
        return 0

    def get_device_properties(self, device: int) -> dict[str, int]:
        return {"max_shared_mem": 1 << 30}

    def load_binary(self, name: str, kernel: bytes, shared: int, device: int) -> tuple[object, int, int, int, int]:
        """Returns a module, its function, registers, spills and the maximum number of threads."""
        return object(), 0, 0, 0, 1024

    def launcher_cls(self, source: Any, metadata: Any) -> Callable[..., None]:
        nvidia.CudaLauncher(source, metadata)
        return lambda *_: None


def build_two_layers(shape: Shape) -> ModelConfig:
    """Returns what launches all of a model's kernels: every layer launches the same ones, but for the last."""
    return ModelConfig(
        architecture=shape.architecture,
        vocab_size=shape.vocab_size,
        hidden_size=shape.hidden_size,
        intermediate_size=shape.intermediate_size,
        num_layers=2,
        num_heads=shape.num_heads,
        num_kv_heads=shape.num_kv_heads,
        head_dim=shape.head_dim,
        rms_norm_eps=1e-6,
        max_position_embeddings=shape.max_position_embeddings,
        rope_theta=1e6,
        rope_scaling=None,
        tie_word_embeddings=True,
        qkv_bias=False,
        output_bias=False,
        mlp_bias=False,
        qk_norm=shape.qk_norm,
        dtype="bfloat16",
        eos_token_ids=(),
    )


@torch.inference_mode()
def launch_all(config: ModelConfig, device: torch.device, *, fp8: bool) -> None:
    """Launches steps of every kind that a server launches by default, over a model of this shape."""
    with device:
        model = Llama(config).to(torch.bfloat16)
        if fp8:
            replace_linears(model)
    model.requires_grad_(False)
    launch_candidates(model, MAX_BATCH)
    for positions in (config.max_position_embeddings, UNALIGNED_PAGES * PAGE_SIZE):
        limits = Limits(positions, MAX_BATCH, MAX_TOKENS, config.vocab_size)
        runner = GpuRunner(model, limits, MAX_BATCH, PAGE_SIZE, kv_dtype=E4M3 if fp8 else None)
        for chunks in build_steps():
            runner.launch(chunks)


def build_steps() -> Iterator[list[Chunk]]:
    """Yields a prompt, decodes of every batch size, both together, and a step of one that asks for all else."""
    requests = [build_request(row, Sampling(max_tokens=9)) for row in range(MAX_BATCH)]
    decodes = [Chunk(request, PROMPT_TOKENS - 1, 1, is_sampled=True) for request in requests]
    prompt = Chunk(requests[0], 0, PROMPT_TOKENS, is_sampled=True)
    yield [prompt]
    yield from (decodes[:count] for count in choose_buckets(MAX_BATCH))
    yield [*decodes[1:3], prompt]
    asking = build_request(0, Sampling(max_tokens=9, presence_penalty=0.5, logprobs=1, prompt_logprobs=1))
    yield [Chunk(asking, 0, PROMPT_TOKENS, is_sampled=True)]


def build_request(row: int, sampling: Sampling) -> Request:
    return Request(
        request_id=str(row),
        token_ids=[0] * PROMPT_TOKENS,
        num_prompt_tokens=PROMPT_TOKENS,
        sampling=sampling,
        seed=row,
        state=RequestState.RUNNING,
        row=row,
        page_ids=[row],
    )
