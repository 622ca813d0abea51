"""The yardstick's file and its readable form. Pure: figures in, rows and Markdown out.

A row is one piece of work on one model and GPU, with a column per engine; an engine's new figure replaces its old one.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from bench.report.measurement import NO_MODEL, Engine, Measurement
from bench.work.shapes import SHAPES
from bench.work.workload import RATES

Key = tuple[str, str, str, str, str]
ENGINES: tuple[Engine, ...] = ("vllm", "transformers", "ours")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How a figure came about."""

    date: str
    version: str
    command: str
    samples: list[float]
    environment: str = ""
    clocks: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    work: str
    model: str
    precision: str
    unit: str
    gpu: str
    vllm: float | None = None
    transformers: float | None = None
    limit: float | None = None
    limit_measured: float | None = None
    ours: float | None = None
    date: str = ""
    """When the newest figure was measured."""
    num_bytes: float | None = None
    """What one call of a kernel reads and writes; None for other work."""
    flop: float | None = None
    runs: dict[str, Run] = field(default_factory=dict)
    """Engine to its run."""

    @property
    def key(self) -> Key:
        return (self.gpu, self.work, self.model, self.precision, self.unit)


def merge(rows: Iterable[Row], measurements: Iterable[Measurement]) -> list[Row]:
    merged = {row.key: row for row in rows}
    for measurement in measurements:
        row = build_row(measurement)
        merged[row.key] = add_figure(merged.get(row.key, row), measurement)
    return list(merged.values())


def build_row(measurement: Measurement) -> Row:
    return Row(
        work=measurement.work,
        model=measurement.model,
        precision=measurement.precision,
        unit=measurement.unit,
        gpu=measurement.gpu,
    )


def add_figure(row: Row, measurement: Measurement) -> Row:
    run = Run(
        date=measurement.date,
        version=measurement.version,
        command=measurement.command,
        samples=measurement.samples,
        environment=measurement.environment,
        clocks=measurement.clocks,
        note=measurement.note,
    )
    figures: dict[str, Any] = {measurement.engine: measurement.value}
    return replace(
        row,
        **figures,
        limit=measurement.limit or row.limit,
        limit_measured=measurement.limit_measured or row.limit_measured,
        date=max(row.date, measurement.date),
        num_bytes=measurement.num_bytes,
        flop=measurement.flop,
        runs=row.runs | {measurement.engine: run},
    )


def parse_rows(text: str) -> list[Row]:
    """Raises ValueError when the file is not one of rows."""
    try:
        return [_parse_row(raw) for raw in json.loads(text)["rows"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"the results file is damaged: {error!r}; restore it from version control") from error


def _parse_row(raw: dict[str, Any]) -> Row:
    unknown = sorted(raw.keys() - {each.name for each in fields(Row)})
    if unknown:
        raise ValueError(f"unknown fields {unknown}")
    return Row(**raw | {"runs": {engine: Run(**run) for engine, run in raw["runs"].items()}})


def format_rows(rows: Sequence[Row]) -> str:
    return json.dumps({"rows": [asdict(row) for row in rows]}, indent=1, ensure_ascii=False) + "\n"


def render(rows: Sequence[Row]) -> str:
    """Returns RESULTS.md: a table per GPU and kind of work, then how each figure came about."""
    parts = ["# Results", INTRODUCTION]
    for gpu in unique(row.gpu for row in rows):
        parts.append(f"## {gpu}")
        on_gpu = sort_rows(row for row in rows if row.gpu == gpu)
        for title in unique(title_of(row) for row in on_gpu):
            parts += [f"### {title}", render_table([row for row in on_gpu if title_of(row) == title])]
        parts += ["### How each was run", render_runs(on_gpu)]
    return "\n\n".join(parts) + "\n"


INTRODUCTION = """Written by `python -m bench merge` from `results.json`; do not edit. `limit` is what the GPU allows by
its data sheet, in brackets by the bandwidth and arithmetic measured on it; `of limit` is our share of the first.
`to vLLM` is our rate over vLLM's (for times: vLLM's over ours), so more than 1 is ahead. Every figure is the median of
its samples, of which `results.json` keeps all. What each work is: [FIGURES.md](FIGURES.md)."""


def sort_rows(rows: Iterable[Row]) -> list[Row]:
    """Sorts by work in the order measured, then bf16 first and models from small to large. Kernels have no model."""
    given, models = list(rows), [NO_MODEL, *SHAPES]
    works = unique(row.work for row in given)
    return sorted(given, key=lambda row: (works.index(row.work), row.precision, models.index(row.model)))


def render_touched(rows: Sequence[Row], measurements: Iterable[Measurement]) -> str:
    """Returns the table of those rows that `measurements` were merged into."""
    keys = {build_row(measurement).key for measurement in measurements}
    return render_table(sort_rows(row for row in rows if row.key in keys))


def title_of(row: Row) -> str:
    return row.work.split(" ")[0].split("/")[0]


def unique(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


def render_table(rows: Sequence[Row]) -> str:
    header = [
        "work",
        "model",
        "precision",
        "unit",
        "vLLM",
        "transformers",
        "limit",
        "ours",
        "to vLLM",
        "of limit",
        "date",
    ]
    lines = [header, ["---"] * 4 + ["---:"] * 6 + ["---"]]
    lines += [render_row(row) for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def render_row(row: Row) -> list[str]:
    limit = f"{format_number(row.limit)} ({format_number(row.limit_measured)})" if row.limit else "–"
    names = [row.work, row.model, row.precision, row.unit]
    figures = [format_number(row.vllm), format_number(row.transformers), limit, format_number(row.ours)]
    return [*names, *figures, format_number(ratio_to_vllm(row)), format_share(row), row.date]


def ratio_to_vllm(row: Row) -> float | None:
    if not row.ours or not row.vllm:
        return None
    return row.ours / row.vllm if row.unit in RATES else row.vllm / row.ours


def format_share(row: Row) -> str:
    if not row.ours or not row.limit:
        return "–"
    share = row.ours / row.limit if row.unit in RATES else row.limit / row.ours
    return f"{100 * share:.1f} %"


def format_number(value: float | None) -> str:
    if value is None:
        return "–"
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def render_runs(rows: Sequence[Row]) -> str:
    """Returns one line per command, with what it measured that needs a word."""
    lines: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        for engine in ENGINES:
            if run := row.runs.get(engine):
                head = f"- {run.date}, {engine} {run.version} ({run.environment}): `{run.command}`"
                notes = lines.setdefault((engine, head), [])
                told = (run.note, "" if row.model == NO_MODEL else run.clocks)
                notes += [note for text in told if text and (note := f"  - {row.work}: {text}") not in notes]
    return "\n".join("\n".join([head, *notes]) for (_, head), notes in lines.items())
