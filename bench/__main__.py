"""`python -m bench run|merge|charts|jobs`: measures on this GPU, and keeps, renders and draws the figures."""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.plan import Job, build_jobs
from bench.processes import exit_on_sigterm, running
from bench.report.charts import draw_charts
from bench.report.measurement import read_lines
from bench.report.results import format_rows, merge, parse_rows, render, render_touched
from bench.work.model_dir import write_model_dir

FOLDER = Path(__file__).parent
IMAGES = FOLDER.parent / "docs" / "images"
STOP_SECONDS = 60
"""More than a job takes to stop its own server."""


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="measure, one job after another, and merge")
    run.add_argument("jobs", nargs="+", metavar="JOB", help="names, or beginnings of names, as `jobs` lists them")
    run.add_argument("--models", type=Path, default=Path("build/bench-models"), help="folder for model folders")
    run.add_argument("--lines", type=Path, help="append the figures here too, to merge them on another machine")
    merging = commands.add_parser("merge", help="take figures measured elsewhere; without files, write RESULTS.md anew")
    merging.add_argument("files", nargs="*", type=Path, metavar="LINES", help="files that `run --lines` wrote")
    charts = commands.add_parser("charts", help="draw the figures; needs the extra `bench`")
    charts.add_argument("--gpu", default="NVIDIA H200", help="whose rows (default: %(default)s)")
    charts.add_argument("--out", type=Path, default=IMAGES, help="folder of the PNGs (default: %(default)s)")
    for command in (run, merging, charts):
        command.add_argument("--results", type=Path, default=FOLDER / "results.json", help="default: %(default)s")
    commands.add_parser("jobs", help="list the jobs")
    return parser


def choose_jobs(names: Sequence[str]) -> list[Job]:
    """In the order asked, each once. Raises ValueError."""
    jobs = build_jobs()
    chosen: dict[str, Job] = {}
    for name in names:
        found = {name: jobs[name]} if name in jobs else {key: jobs[key] for key in jobs if key.startswith(name)}
        if not found:
            raise ValueError(f"job {name!r} is not known; give one of {', '.join(jobs)}")
        chosen |= {key: job for key, job in found.items() if key not in chosen}
    return list(chosen.values())


def run_job(job: Job, models: Path, lines: Path) -> bool:
    """False when it failed or took too long; what it measured until then is kept."""
    folder = models / job.model
    if not (folder / "config.json").exists() or (job.weights and not (folder / "model.safetensors").exists()):
        write_model_dir(job.model, folder, weights=job.weights)
    command, begin = [sys.executable, *job.build_arguments(folder, lines)], time.monotonic()
    code: int | str
    with running(command, stop_seconds=STOP_SECONDS) as process:
        try:
            code = process.wait(job.limit_seconds)
        except subprocess.TimeoutExpired:
            code = f"none after {job.limit_seconds} s"
    print(f"{job.name}: exit {code}, {time.monotonic() - begin:.0f} s", flush=True)
    return code == 0


def run_jobs(args: argparse.Namespace) -> int:
    jobs = choose_jobs(args.jobs)
    with tempfile.TemporaryDirectory() as folder:
        lines = args.lines or Path(folder) / "lines.jsonl"
        failed = [job.name for job in jobs if not run_job(job, args.models, lines)]
        if lines.exists():
            merge_files(args.results, [lines])
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def merge_files(results: Path, files: Sequence[Path]) -> None:
    """`results` and the RESULTS.md beside it; prints the table of the rows that changed."""
    measurements = [each for path in files for each in read_lines(path.read_text().splitlines())]
    rows = merge(parse_rows(results.read_text()) if results.exists() else [], measurements)
    results.write_text(format_rows(rows))
    (results.parent / "RESULTS.md").write_text(render(rows))
    if measurements:
        print(render_touched(rows, measurements))
    print(f"{results}: {len(rows)} rows")


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    exit_on_sigterm()
    try:
        match args.command:
            case "run":
                return run_jobs(args)
            case "merge":
                merge_files(args.results, args.files)
            case "charts":
                for path in draw_charts(parse_rows(args.results.read_text()), args.gpu, args.out):
                    print(path)
            case _:
                print("\n".join(build_jobs()))
    except (ValueError, OSError, RuntimeError) as error:
        print(f"python -m bench {args.command}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
