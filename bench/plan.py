"""The jobs of the yardstick: which engine measures what. Each runs in a process of its own on an idle GPU."""

import argparse
from collections.abc import Sequence
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
"""Their steps are as large as a server's may be by default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    name: str
    """`ENGINE/MODEL` and what is special: what a person types."""
    model: str
    command: str
    """A command of `bench` that takes `--lines`, the model and its folder."""
    flags: tuple[str, ...]
    weights: bool = False
    """The engine reads random weights from the folder instead of making its own."""
    limit_seconds: int = 540

    def build_arguments(self, folder: Path, lines: Path) -> list[str]:
        """Returns what Python is started with; the server's engine stands in front of the model."""
        leading = self.flags[:1] if self.command == "serving" else ()
        rest = self.flags[len(leading) :]
        return ["-m", "bench", self.command, *leading, self.model, str(folder), "--lines", str(lines), *rest]


def build_jobs() -> dict[str, Job]:
    jobs = [*_offline_jobs("vllm"), *_offline_jobs("ours"), *_served_jobs("vllm"), *_served_jobs("ours")]
    jobs += [Job(name=f"ours-start/{model}", model=model, command="start", flags=(), weights=True) for model in SERVED]
    jobs += [
        Job(name=f"ours-closed/{model}", model=model, command="pagoda-offline", flags=CLOSED, weights=True)
        for model in SERVED
    ]
    jobs += _transformers_jobs()
    return {job.name: job for job in jobs}


def _offline_jobs(engine: Literal["vllm", "ours"]) -> list[Job]:
    """Returns the same work for both engines."""
    bf16 = [_build_offline_job(engine, model, "bf16") for model in SHAPES]
    return bf16 + [_build_offline_job(engine, model, "fp8") for model in LARGE]


def _build_offline_job(engine: Literal["vllm", "ours"], model: str, precision: Precision) -> Job:
    prefill = ("--prefill", *PREFILL_POINTS) if model in LARGE else ()
    return Job(
        name=f"{engine}/{model}" if precision == "bf16" else f"{engine}/{model}/{precision}",
        model=model,
        command="vllm-offline" if engine == "vllm" else "pagoda-offline",
        flags=("--precision", precision, "--divide", "1", "16", "--decode", *DECODE_POINTS, *prefill),
        weights=engine == "ours",
    )


def _served_jobs(engine: Literal["vllm", "ours"]) -> list[Job]:
    return [
        Job(
            name=f"{engine}-http/{model}",
            model=model,
            command="serving",
            flags=(engine, "--loads", *LOADS, "--interference"),
            weights=engine == "ours",
        )
        for model in SERVED
    ]


def _transformers_jobs() -> list[Job]:
    """Returns two. NB: all of W1 takes minutes there: it is run once, and apart, for the short one need not wait."""
    model, command = "qwen3-0.6b", "transformers-offline"
    short = Job(name=f"transformers/{model}", model=model, command=command, flags=("--divide", "16"))
    whole = ("--divide", "1", "--repeats", "1")
    return [
        short,
        Job(name=f"transformers/{model}/whole", model=model, command=command, flags=whole, limit_seconds=900),
    ]


def choose_jobs(names: Sequence[str]) -> list[Job]:
    """Returns them in the order asked, each once. Raises ValueError."""
    jobs = build_jobs()
    chosen: dict[str, Job] = {}
    for name in names:
        found = {name: jobs[name]} if name in jobs else {key: jobs[key] for key in jobs if key.startswith(name)}
        if not found:
            raise ValueError(f"job {name!r} is not known; give one of {', '.join(jobs)}")
        chosen |= {key: job for key, job in found.items() if key not in chosen}
    return list(chosen.values())


def main(argv: Sequence[str]) -> int:
    argparse.ArgumentParser(prog="python -m bench jobs", description=__doc__).parse_args(argv)
    print("\n".join(build_jobs()))
    return 0
