"""Which runner serves a model: our kernels where they can, the reference elsewhere."""

from dataclasses import dataclass

import torch

from pagoda_server.engine.batch import Limits
from pagoda_server.engine.runner import Runner
from pagoda_server.model.llama import Llama
from pagoda_server.runtime.reference.runner import ReferenceRunner
from pagoda_server.start.phases import Phases


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerOptions:
    """What a runner is built for, beside its model."""

    limits: Limits
    num_pages: int
    page_size: int
    kv_dtype: torch.dtype | None = None
    """The KV tensors' type; None means the activations'."""
    measure_projections: bool = False
    deterministic: bool = False


def build_runner(model: Llama, options: RunnerOptions, phases: Phases) -> Runner:
    """Builds our kernels' runner on a GPU in 16 bits; the reference elsewhere, and for shapes the kernels do not know.

    Raises ValueError when it cannot be `deterministic`.
    """
    if _fits_kernels(model):
        return _build_gpu_runner(model, options, phases)
    if options.deterministic:
        raise ValueError(
            f"deterministic is set but {model.embedding.dtype} on {model.embedding.device.type} has no kernels for it; "
            "serve in bfloat16 or float16 on a CUDA GPU, or leave it off"
        )
    with phases.time("build_runner"):
        return ReferenceRunner(model, options.num_pages, options.page_size, options.kv_dtype)


def _fits_kernels(model: Llama) -> bool:
    config, embedding = model.config, model.embedding
    is_known = config.num_heads // config.num_kv_heads <= 16 and config.head_dim <= 256
    return embedding.device.type == "cuda" and embedding.dtype != torch.float32 and is_known


def _build_gpu_runner(model: Llama, options: RunnerOptions, phases: Phases) -> Runner:
    with phases.time("build_runner"):
        # Triton compiles for a GPU, or is absent.
        from pagoda_server.kernels.shipped import use_shipped_kernels
        from pagoda_server.runtime.gpu.runner import GpuRunner
        from pagoda_server.start.measure_projections import measure_projections

        use_shipped_kernels()
        is_measured = options.measure_projections and not options.deterministic
        runner = GpuRunner(
            model,
            options.limits,
            options.num_pages,
            options.page_size,
            kv_dtype=options.kv_dtype,
            projections=measure_projections(model, options.limits.max_num_seqs) if is_measured else None,
            deterministic=options.deterministic,
        )
    with phases.time("capture_graphs"):
        runner.capture_first()
    return runner
