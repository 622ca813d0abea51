"""An engine's HTTP server on random weights: its start-up time, streaming load, and what long prompts do to streams."""

import argparse
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from itertools import product
from pathlib import Path

from bench.offline.vllm import ENVIRONMENT
from bench.processes import exit_on_sigterm, running
from bench.report.measurement import Recorder, read_gpu_name, read_version
from bench.serving.http_load import Load, Report, run_load
from bench.serving.interference import LongPrompts, build_load, measure_rounds
from bench.serving.mixes import MIXES, PLAIN, Mix
from bench.work.arguments import add_model_arguments, argument_of
from bench.work.workload import CLOSED_TOKENS_IN, CLOSED_TOKENS_OUT, OUTPUT_RATE, Width, parse_width

STOP_SECONDS = 30
POLL_SECONDS = 0.02
CACHE_VARIABLES = ("VLLM_CACHE_ROOT", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR")
MAX_MODEL_LEN = "16384"
INTERFERENCE_ROUNDS = 3


def build_command(engine: str, folder: Path, model: str, port: int) -> list[str]:
    if engine == "ours":
        flags = ["--model", str(folder), "--served-model-name", model, "--port", str(port), "--no-prefix-caching"]
        return [sys.executable, "-m", "pagoda_server", "serve", "--max-model-len", MAX_MODEL_LEN, *flags]
    flags = ["--model", str(folder), "--served-model-name", model, "--port", str(port), "--no-enable-prefix-caching"]
    limits = ["--load-format", "dummy", "--max-model-len", MAX_MODEL_LEN, "--gpu-memory-utilization", "0.85"]
    return [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *flags, *limits]


@contextmanager
def serving(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Runs the server, with its compiled kernels in a new folder: a start is measured as in a new pod."""
    with tempfile.TemporaryDirectory() as cache, log.open("wb") as output:
        environment = ENVIRONMENT | os.environ | {name: f"{cache}/{name}" for name in CACHE_VARIABLES}
        with running(command, stop_seconds=STOP_SECONDS, output=output, environment=environment) as process:
            yield process


def wait_until_answered(process: subprocess.Popen[bytes], url: str, log: Path, limit_seconds: float) -> None:
    """Returns when the URL answers 200. Raises RuntimeError with the end of the log."""
    deadline = time.monotonic() + limit_seconds
    while not answers(url):
        if process.poll() is not None or time.monotonic() > deadline:
            tail = log.read_text(errors="replace")[-3000:]
            raise RuntimeError(
                f"{url} is not answered after {limit_seconds} s, or the server ended; its last words:\n{tail}"
            )
        time.sleep(POLL_SECONDS)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def record_report(recorder: Recorder, report: Report, mix: Mix) -> None:
    work = f"HTTP streams={report.streams}" + ("" if mix.name == PLAIN else f" {mix.name}")
    note = f"{report.requests} requests, {CLOSED_TOKENS_IN} tokens in, {CLOSED_TOKENS_OUT} out"
    if report.failed:
        note += f", {report.failed} FAILED: {report.first_error}"
    figures = {
        OUTPUT_RATE: report.output_tokens_per_second,
        "TTFT p50 ms": report.ttft_p50_ms,
        "TTFT p99 ms": report.ttft_p99_ms,
        "ITL p50 ms": report.itl_p50_ms,
        "ITL p99 ms": report.itl_p99_ms,
        "ITL max ms": report.itl_max_ms,
    }
    for unit, value in figures.items():
        recorder.record(work, unit, [value], note=note)


def measure(recorder: Recorder, url: str, widths: list[Width], mixes: list[Mix]) -> None:
    for width, mix in product(widths, mixes):
        warm = Load(
            url=url,
            model=recorder.model,
            streams=width.streams,
            requests=width.streams,
            tokens_out=8,
            seed=2,
            body=mix.body,
        )
        run_load(warm)
        load = Load(
            url=url,
            model=recorder.model,
            streams=width.streams,
            requests=width.requests,
            tokens_in=CLOSED_TOKENS_IN,
            tokens_out=CLOSED_TOKENS_OUT,
            body=mix.body,
        )
        record_report(recorder, run_load(load), mix)


def record_interference(recorder: Recorder, url: str) -> None:
    load, prompts = build_load(url, recorder.model), LongPrompts()
    rounds = measure_rounds(load, prompts, INTERFERENCE_ROUNDS)
    answered = sum(one.long_prompts for one in rounds)
    note = f"{load.tokens_in} tokens in, {load.tokens_out} out per stream; {answered} long prompts in all"
    errors = [one.first_error for one in rounds if one.first_error]
    if errors:
        note += f", {sum(one.failed for one in rounds)} FAILED: {errors[0]}"
    figures = {
        "ITL p99 alone, ms": [one.alone_itl_p99_ms for one in rounds],
        "ITL p99 disturbed, ms": [one.disturbed_itl_p99_ms for one in rounds],
        "ITL p99 disturbed / alone": [one.ratio for one in rounds],
    }
    for unit, samples in figures.items():
        recorder.record(f"interference {load.streams} streams, {prompts.tokens} in", unit, samples, note=note)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench serving", description=__doc__)
    parser.add_argument("engine", choices=("vllm", "ours"))
    add_model_arguments(parser)
    parser.add_argument("--port", type=int, default=8123)
    parser.add_argument("--loads", type=argument_of(parse_width), nargs="+", required=True, metavar="STREAMSxREQUESTS")
    parser.add_argument(
        "--mixes", nargs="+", choices=list(MIXES), default=[PLAIN], help="what requests ask for (default: %(default)s)"
    )
    parser.add_argument("--interference", action="store_true", help="measure streams beside long prompts too")
    parser.add_argument("--log", type=Path, default=Path("server.log"), help="of the server (default %(default)s)")
    parser.add_argument("--start-limit-seconds", type=float, default=300)
    parser.add_argument("--note", default="", help="kept with the figures")
    args = parser.parse_args(argv)
    exit_on_sigterm()
    recorder = Recorder(
        model=args.model,
        engine=args.engine,
        version=version("vllm") if args.engine == "vllm" else read_version(),
        gpu=read_gpu_name(),
        lines=args.lines,
        note=args.note,
    )
    url, begin = f"http://127.0.0.1:{args.port}", time.perf_counter()
    command = build_command(args.engine, args.folder, args.model, args.port)
    with serving(command, args.log) as process:
        wait_until_answered(process, f"{url}/health", args.log, args.start_limit_seconds)
        recorder.record(
            "HTTP start-up", "s", [round(time.perf_counter() - begin, 1)], note="no compiled kernels cached"
        )
        measure(recorder, url, args.loads, [MIXES[name] for name in args.mixes])
        if args.interference:
            record_interference(recorder, url)
    return 0
