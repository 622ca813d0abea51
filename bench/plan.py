"""The jobs of the yardstick: which engine measures what. Each runs in a process of its own on an idle GPU."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.work.shapes import SHAPES, Precision

DECODE_POINTS = ("1,1024", "32,1024", "256,1024", "32,7000")
PREFILL_POINTS = ("32,8192",)
LOADS = ("1x8", "32x128", "256x1024")
LARGE = ("llama-3.1-8b", "qwen3-8b")
SERVED = ("qwen3-0.6b", "llama-3.1-8b")
CLOSED = ("--divide", "--streams", *LOADS, "--max-batched-tokens", "2048")
"""The step that a server takes at most by default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    name: str
    """`ENGINE/MODEL` and what is special: what a person types."""
    model: str
    module: str
    """Of `bench`; it takes `--lines`, the model and its folder."""
    flags: tuple[str, ...]
    weights: bool = False
    """The engine reads random weights from the folder instead of making its own."""
    limit_seconds: int = 540

    def build_arguments(self, folder: Path, lines: Path) -> list[str]:
        leading = self.flags[:1] if self.module == "serving.server" else ()
        rest = self.flags[len(leading) :]
        return ["-m", f"bench.{self.module}", *leading, self.model, str(folder), "--lines", str(lines), *rest]


def build_jobs() -> dict[str, Job]:
    jobs = [*_offline_jobs("vllm"), *_offline_jobs("ours"), *_served_jobs("vllm"), *_served_jobs("ours")]
    jobs += [
        Job(name=f"ours-start/{model}", model=model, module="serving.start", flags=(), weights=True) for model in SERVED
    ]
    jobs += [
        Job(name=f"ours-closed/{model}", model=model, module="offline.pagoda", flags=CLOSED, weights=True)
        for model in SERVED
    ]
    jobs += _transformers_jobs()
    return {job.name: job for job in jobs}


def _offline_jobs(engine: Literal["vllm", "ours"]) -> list[Job]:
    """The same work for both."""
    bf16 = [_build_offline_job(engine, model, "bf16") for model in SHAPES]
    return bf16 + [_build_offline_job(engine, model, "fp8") for model in LARGE]


def _build_offline_job(engine: Literal["vllm", "ours"], model: str, precision: Precision) -> Job:
    prefill = ("--prefill", *PREFILL_POINTS) if model in LARGE else ()
    return Job(
        name=f"{engine}/{model}" if precision == "bf16" else f"{engine}/{model}/{precision}",
        model=model,
        module="offline.vllm" if engine == "vllm" else "offline.pagoda",
        flags=("--precision", precision, "--divide", "1", "16", "--decode", *DECODE_POINTS, *prefill),
        weights=engine == "ours",
    )


def _served_jobs(engine: Literal["vllm", "ours"]) -> list[Job]:
    return [
        Job(
            name=f"{engine}-http/{model}",
            model=model,
            module="serving.server",
            flags=(engine, "--loads", *LOADS, "--interference"),
            weights=engine == "ours",
        )
        for model in SERVED
    ]


def _transformers_jobs() -> list[Job]:
    """NB: all of W1 takes minutes there, so it is run once, and apart: the short one must not wait for it."""
    model, module = "qwen3-0.6b", "offline.transformers"
    short = Job(name=f"transformers/{model}", model=model, module=module, flags=("--divide", "16"))
    whole = ("--divide", "1", "--repeats", "1")
    return [short, Job(name=f"transformers/{model}/whole", model=model, module=module, flags=whole, limit_seconds=900)]
