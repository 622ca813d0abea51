"""The charts of docs/images, drawn from results.json alone: `python -m bench charts`. Needs the extra `bench`.

Colours are of Okabe and Ito (2008), told apart by the colour-blind; engines also differ in marker and line.
"""

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.report.measurement import NO_MODEL, Engine
from bench.report.merge import add_results_argument
from bench.report.results import Row, parse_rows, unique
from bench.report.roofline import Point, list_points
from bench.work.limits import GPUS
from bench.work.shapes import SHAPES
from bench.work.workload import parse_decode_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

IMAGES = Path(__file__).parents[2] / "docs" / "images"
CONTEXT = 1024
"""Tokens, of the decode points against the batch size."""
WIDTH_INCHES, DPI, COLOURS = 9.0, 150, 64
"""Shown 900 pixels wide, kept half as wide again; few colours make a small file."""
INK, GREY = "#222222", "#8a8a8a"


@dataclass(frozen=True, slots=True)
class Style:
    label: str
    colour: str
    marker: str


STYLES: dict[Engine, Style] = {"vllm": Style("vLLM", "#D55E00", "s"), "ours": Style("Pagoda", "#0072B2", "o")}
"""In the order drawn: ours lie on top."""
MODEL_COLOURS = dict(zip(SHAPES, ("#56B4E9", "#009E73", "#0072B2", "#CC79A7"), strict=True))
KERNEL_COLOUR = "#E69F00"


@dataclass(frozen=True, slots=True)
class Curve:
    """Output tokens/s against the batch size."""

    batches: list[int]
    rates: list[float]


def draw_charts(rows: Sequence[Row], gpu: str, folder: Path) -> list[Path]:
    """Writes the PNGs. Raises RuntimeError without matplotlib and ValueError when `gpu` has no rows."""
    on_gpu = [row for row in rows if row.gpu == gpu]
    if not on_gpu:
        raise ValueError(f"no row is of {gpu!r}; give one of {', '.join(unique(row.gpu for row in rows))}")
    folder.mkdir(parents=True, exist_ok=True)
    charts = {"decode.png": draw_decode, "roofline.png": draw_roofline}
    return [save(draw(on_gpu, gpu), folder / name) for name, draw in charts.items()]


def build_figure(title: str, height_inches: float, **grid: Any) -> tuple["Figure", Any]:
    """Returns the figure and its axes."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise RuntimeError("charts need matplotlib: pip install -e '.[bench]'") from error
    figure = Figure(figsize=(WIDTH_INCHES, height_inches), dpi=DPI, layout="constrained")
    figure.suptitle(title, fontsize=11, color=INK)
    return figure, figure.subplots(**grid)


def save(figure: "Figure", path: Path) -> Path:
    """Writes it with a palette, in a third of the bytes, and returns the path."""
    from io import BytesIO

    from PIL import Image

    drawn = BytesIO()
    figure.savefig(drawn, format="png")
    Image.open(drawn).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    return path


def describe_origin(rows: Iterable[Row], gpu: str) -> str:
    """Returns the likes of `NVIDIA H200 · Pagoda 0.1.0, vLLM 0.26.0 · 2026-11-24`"""
    given = list(rows)
    versions = [
        f"{style.label} {version}"
        for engine, style in STYLES.items()
        for version in unique(row.runs[engine].version for row in given if engine in row.runs)
    ]
    dates = sorted({run.date for row in given for engine, run in row.runs.items() if engine in STYLES})
    period = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    return f"{gpu} · {', '.join(versions)} · {period}"


def select_decode(rows: Iterable[Row], model: str) -> list[tuple[int, Row]]:
    """Returns batch size and row of the bf16 decode points at `CONTEXT`, by batch size."""
    points = [(parse_decode_name(row.work), row) for row in rows if row.model == model and row.precision == "bf16"]
    return sorted(
        ((point.batch, row) for point, row in points if point and point.context == CONTEXT), key=lambda pair: pair[0]
    )


def build_curve(points: Sequence[tuple[int, Row]], column: str) -> Curve:
    """Takes an engine, or `limit_measured`, and leaves out the batch sizes without a figure."""
    found = [(batch, value) for batch, row in points if (value := getattr(row, column)) is not None]
    return Curve([batch for batch, _ in found], [value for _, value in found])


def draw_decode(rows: Sequence[Row], gpu: str) -> "Figure":
    models = [model for model in SHAPES if select_decode(rows, model)]
    used = [row for model in models for _, row in select_decode(rows, model)]
    title = f"Decode at a context of {CONTEXT:,} tokens, bf16\n{describe_origin(used, gpu)}"
    columns = min(2, len(models))
    figure, grid = build_figure(title, 6.4, nrows=-(-len(models) // columns), ncols=columns, squeeze=False)
    for axes, model in zip(grid.flat, models, strict=False):
        draw_decode_panel(axes, model, select_decode(rows, model))
    for axes in grid.flat[len(models) :]:
        axes.set_axis_off()
    handles, labels = grid.flat[0].get_legend_handles_labels()
    figure.legend(
        handles,
        [*labels[:2], f"{labels[2]}, and its ratio to vLLM"],
        loc="outside lower center",
        ncols=len(handles),
        frameon=False,
        fontsize=10,
    )
    return figure


def draw_decode_panel(axes: "Axes", model: str, points: Sequence[tuple[int, Row]]) -> None:
    limit = build_curve(points, "limit_measured")
    axes.plot(limit.batches, limit.rates, color=GREY, linestyle="--", label="limit at the bandwidth measured")
    for engine, style in STYLES.items():
        curve = build_curve(points, engine)
        fill = style.colour if engine == "ours" else "white"
        axes.plot(
            curve.batches,
            curve.rates,
            color=style.colour,
            marker=style.marker,
            markerfacecolor=fill,
            markersize=5 if engine == "ours" else 9,
            linewidth=1.3,
            label=style.label,
        )
    label_ratios(axes, points)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.margins(x=0.1, y=0.24)
    batches = [batch for batch, _ in points]
    axes.set_xticks(batches, [str(batch) for batch in batches])
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.set_title(model, fontsize=11)
    axes.set_xlabel("sequences in the batch")
    axes.set_ylabel("output tokens/s")
    axes.grid(True, which="major", color="#e2e2e2", linewidth=0.7)


def label_ratios(axes: "Axes", points: Sequence[tuple[int, Row]]) -> None:
    """Writes our rate over vLLM's below both points."""
    for batch, row in points:
        if row.ours and row.vllm:
            place = (batch, min(row.ours, row.vllm))
            text = f"{row.ours / row.vllm:.2f}×"
            axes.annotate(
                text,
                place,
                xytext=(4, -19),
                textcoords="offset points",
                ha="center",
                fontsize=9,
                color=STYLES["ours"].colour,
            )


def draw_roofline(rows: Sequence[Row], gpu: str) -> "Figure":
    bf16 = [row for row in rows if row.precision == "bf16"]
    points = list_points(bf16, list(STYLES))
    works = {(point.label, point.model) for point in points}
    used = [row for row in bf16 if (row.work, row.model) in works]
    kinds = ", ".join(unique(point.label.split(" ")[0] for point in points))
    figure, axes = build_figure(f"Roofline: {kinds}, bf16\n{describe_origin(used, gpu)}", 5.6)
    draw_roofs(axes, gpu, points)
    for model in (NO_MODEL, *SHAPES):
        for engine in STYLES:
            draw_points(axes, [one for one in points if one.model == model and one.engine == engine])
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("FLOP for each byte that must move")
    axes.set_ylabel("TFLOP/s")
    axes.grid(True, which="major", color="#e2e2e2", linewidth=0.7)
    axes.legend(loc="lower right", fontsize=9, framealpha=0.9)
    return figure


def draw_points(axes: "Axes", points: Sequence[Point]) -> None:
    """Draws the points of one model and engine: ours filled, others hollow."""
    if not points:
        return
    style, colour = STYLES[points[0].engine], MODEL_COLOURS.get(points[0].model, KERNEL_COLOUR)
    name = "kernels alone" if points[0].model == NO_MODEL else points[0].model
    axes.scatter(
        [point.intensity for point in points],
        [point.tflops for point in points],
        s=38,
        marker=style.marker,
        edgecolors=colour,
        facecolors=colour if points[0].engine == "ours" else "none",
        linewidths=1.4,
        label=f"{name}, {style.label}",
        zorder=3,
    )


def draw_roofs(axes: "Axes", gpu: str, points: Sequence[Point]) -> None:
    """Draws the data sheet's roof and the measured one, over the width of the points."""
    if gpu not in GPUS:
        return
    ends = [min(point.intensity for point in points) / 2, max(1000.0, *(point.intensity for point in points)) * 2]
    for name, rates, line in (("data sheet", GPUS[gpu].rated, ":"), ("measured", GPUS[gpu].measured, "--")):
        memory, arithmetic = rates.bytes_per_second * 1e-12, rates.bf16_flop_per_second * 1e-12
        corners = [ends[0], arithmetic / memory, ends[1]]
        heights = [min(arithmetic, memory * corner) for corner in corners]
        label = f"{name}: {memory:g} TB/s, {arithmetic:g} TFLOP/s"
        axes.plot(corners, heights, color=GREY, linestyle=line, label=label)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench charts", description=__doc__)
    parser.add_argument("--gpu", default="NVIDIA H200", help="whose rows (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=IMAGES, help="folder of the PNGs (default: %(default)s)")
    add_results_argument(parser)
    args = parser.parse_args(argv)
    for path in draw_charts(parse_rows(args.results.read_text()), args.gpu, args.out):
        print(path)
    return 0
