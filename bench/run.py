"""Measures jobs on this machine's GPU, one after another, and merges what they found: `python -m bench run JOB`."""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.plan import Job, choose_jobs
from bench.processes import exit_on_sigterm, running
from bench.report.merge import add_results_argument, merge_files
from bench.work.model_dir import write_model_dir

STOP_SECONDS = 60
"""More than a job takes to stop its own server."""


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench run", description=__doc__)
    parser.add_argument("jobs", nargs="+", metavar="JOB", help="names, or beginnings of names, as `jobs` lists them")
    parser.add_argument("--models", type=Path, default=Path("build/bench-models"), help="folder for model folders")
    parser.add_argument("--lines", type=Path, help="append the figures here too, to merge them on another machine")
    add_results_argument(parser)
    args = parser.parse_args(argv)
    exit_on_sigterm()
    return run_jobs(args)


def run_jobs(args: argparse.Namespace) -> int:
    """Returns 1 when a job failed; what the others measured is merged."""
    jobs = choose_jobs(args.jobs)
    with tempfile.TemporaryDirectory() as folder:
        lines = args.lines or Path(folder) / "lines.jsonl"
        failed = [job.name for job in jobs if not run_job(job, args.models, lines)]
        if lines.exists():
            merge_files(args.results, [lines])
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def run_job(job: Job, models: Path, lines: Path) -> bool:
    """Returns False when it failed or took too long; what it measured until then is kept."""
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
