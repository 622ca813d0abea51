"""The jobs of the yardstick: which engine measures what. Each runs in a process of its own on an idle GPU."""

from dataclasses import dataclass
from pathlib import Path

from bench.shapes import SHAPES

DECODE_POINTS = ("1,1024", "32,1024", "256,1024", "32,7000")
LOADS = ("1x8", "32x128", "256x1024")
LARGE = ("llama-3.1-8b", "qwen3-8b")
SERVED = ("qwen3-0.6b", "llama-3.1-8b")


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
    limit_seconds: int = 420

    def build_arguments(self, folder: Path, lines: Path) -> list[str]:
        leading = self.flags[:1] if self.module == "serving" else ()
        rest = self.flags[len(leading) :]
        return ["-m", f"bench.{self.module}", *leading, self.model, str(folder), "--lines", str(lines), *rest]


def build_jobs() -> dict[str, Job]:
    jobs = [*_vllm_jobs(), *_served_jobs(), *_own_jobs()]
    jobs.append(
        Job(
            name="transformers/qwen3-0.6b",
            model="qwen3-0.6b",
            module="transformers_offline",
            flags=("--divide", "16", "1", "--repeats", "1"),
            limit_seconds=900,
        )
    )
    return {job.name: job for job in jobs}


def _vllm_jobs() -> list[Job]:
    points = ("--divide", "1", "16", "--decode", *DECODE_POINTS)
    bf16 = [Job(name=f"vllm/{model}", model=model, module="vllm_offline", flags=points) for model in SHAPES]
    fp8 = [
        Job(name=f"vllm/{model}/fp8", model=model, module="vllm_offline", flags=("--precision", "fp8", *points))
        for model in LARGE
    ]
    return bf16 + fp8


def _served_jobs() -> list[Job]:
    return [
        Job(name=f"vllm-http/{model}", model=model, module="serving", flags=("vllm", "--loads", *LOADS))
        for model in SERVED
    ]


def _own_jobs() -> list[Job]:
    """NB: the reference kernels are far too slow for all of W1; the whole of it comes with kernels of our own."""
    model = "qwen3-0.6b"
    slow = ("--divide", "16", "--repeats", "1", "--budget-seconds", "8", "--note", "reference kernels")
    points = ("--decode", *DECODE_POINTS)
    served = ("ours", "--loads", "1x1", "32x32", "--note", "reference kernels")
    fp8 = [
        Job(
            name=f"ours/{large}/fp8",
            model=large,
            module="pagoda_offline",
            flags=("--precision", "fp8", "--divide", "1", "16", "--decode", *DECODE_POINTS),
            weights=True,
        )
        for large in LARGE
    ]
    starts = [Job(name=f"ours-start/{one}", model=one, module="start", flags=(), weights=True) for one in SERVED]
    return [
        *fp8,
        *starts,
        Job(name=f"ours/{model}", model=model, module="pagoda_offline", flags=slow + points, weights=True),
        Job(name=f"ours-http/{model}", model=model, module="serving", flags=served, weights=True),
    ]
