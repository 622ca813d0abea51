"""One measured figure, as every script here writes it: a line of JSON that says what, where, when and how."""

import importlib.metadata
import json
import platform
import shlex
import statistics
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

from bench.report.clocks import ClockWatch
from bench.work.limits import Limit
from bench.work.shapes import Precision

NO_MODEL = "–"
"""In place of a model's name, for a kernel at a shape."""
Engine = Literal["vllm", "transformers", "ours"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    work: str
    model: str
    precision: Precision
    unit: str
    engine: Engine
    version: str
    value: float
    """The median of `samples`."""
    gpu: str
    date: str
    command: str
    samples: list[float] = field(default_factory=list)
    limit: float | None = None
    limit_measured: float | None = None
    num_bytes: float | None = None
    """That one call of a kernel must move; None for other work."""
    flop: float | None = None
    """That it must do."""
    environment: str = ""
    """Versions of what the engine stands on."""
    clocks: str = ""
    """The GPU's, since the figure before this one."""
    note: str = ""


def describe_environment() -> str:
    torch, triton = (importlib.metadata.version(name) for name in ("torch", "triton"))
    driver = query_gpu("driver_version")
    return f"Python {platform.python_version()}, torch {torch}, Triton {triton}, driver {driver}"


def read_version() -> str:
    """Returns Pagoda's, of the code that runs, which need not be installed."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    return str(project["version"])


def read_gpu_name() -> str:
    """Returns the name that nvidia-smi has for it. Raises RuntimeError."""
    return query_gpu("name")


def query_gpu(what: str) -> str:
    """Asks nvidia-smi about the first GPU."""
    command = ["nvidia-smi", f"--query-gpu={what}", "--format=csv,noheader"]
    try:
        answers = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError) as error:
        raise RuntimeError(
            f"no NVIDIA GPU answers ({' '.join(command)}: {error}); measure on a machine with one"
        ) from error
    if not answers:
        raise RuntimeError("nvidia-smi lists no GPU; measure on a machine with one")
    return answers[0].strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorder:
    """Writes the figures of one run of one engine, each as soon as it is known."""

    model: str
    engine: Engine
    version: str
    gpu: str
    lines: Path | None
    """Appended to. None: standard output."""
    environment: str = field(default_factory=describe_environment)
    clocks: ClockWatch = field(default_factory=ClockWatch)
    precision: Precision = "bf16"
    note: str = ""

    def record(
        self,
        work: str,
        unit: str,
        samples: list[float],
        *,
        limit: Limit | None = None,
        num_bytes: float | None = None,
        flop: float | None = None,
        note: str = "",
    ) -> None:
        measurement = Measurement(
            work=work,
            model=self.model,
            precision=self.precision,
            unit=unit,
            engine=self.engine,
            version=self.version,
            value=statistics.median(samples),
            samples=samples,
            gpu=self.gpu,
            date=datetime.now(UTC).date().isoformat(),
            command=describe_command(sys.orig_argv),
            limit=limit.rated if limit else None,
            limit_measured=limit.measured if limit else None,
            num_bytes=num_bytes,
            flop=flop,
            environment=self.environment,
            clocks=self.clocks.take(),
            note="; ".join(filter(None, (self.note, note))),
        )
        write_line(measurement, self.lines)


def write_line(measurement: Measurement, lines: Path | None) -> None:
    text = json.dumps(asdict(measurement))
    if lines is None:
        print(text, flush=True)
        return
    with lines.open("a") as file:
        file.write(text + "\n")


def read_lines(texts: Iterable[str]) -> list[Measurement]:
    """Raises ValueError with the number of the first bad line."""
    return [parse_line(text, number) for number, text in enumerate(texts, start=1) if text.strip()]


def parse_line(text: str, number: int) -> Measurement:
    try:
        raw = json.loads(text)
        unknown = sorted(raw.keys() - {each.name for each in fields(Measurement)})
        if unknown or raw["engine"] not in get_args(Engine):
            raise ValueError(f"unknown fields {unknown} or engine {raw.get('engine')!r}")
        return Measurement(**raw)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"line {number} is no measurement: {error}; measure again") from error


def describe_command(argv: list[str]) -> str:
    """Returns what a person would type: where figures and logs go belongs to the run, not to the work."""
    words = ["python3", *argv[1:]]
    for flag in ("--lines", "--log"):
        if flag in words:
            at = words.index(flag)
            del words[at : at + 2]
    return shlex.join(words)
