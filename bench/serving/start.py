"""From the start of our server's process to its first token, and where the time goes: `python -m bench start`.

The weights are in the page cache from the second start on. Kernels that Triton compiled are kept nowhere between
starts, as in a new pod; those that `python -m pagoda_server compile` made before are found, as in an image.
"""

import argparse
import json
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from bench.processes import exit_on_sigterm
from bench.report.measurement import Recorder, read_gpu_name, read_version
from bench.serving.server import serving, wait_until_answered
from bench.work.arguments import add_model_arguments

METRIC = "pagoda_server_start_seconds"
LIMIT_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Start:
    ready_seconds: float
    first_token_seconds: float
    phases: Mapping[str, float]
    """The engine's phases, as it says itself; `total` lasts until the front could ask it."""

    def list_figures(self) -> dict[str, float]:
        phases = {f"start phase {name}": seconds for name, seconds in self.phases.items()}
        return {"start to ready": self.ready_seconds, "start to first token": self.first_token_seconds, **phases}


def build_command(model: str, folder: Path, port: int, flags: list[str]) -> list[str]:
    named = ["--model", str(folder), "--served-model-name", model, "--port", str(port)]
    return [sys.executable, "-m", "pagoda_server", "serve", *named, *flags]


def measure_start(command: list[str], model: str, url: str, log: Path) -> Start:
    """Raises RuntimeError with the end of the log when the server does not come."""
    begin = time.perf_counter()
    with serving(command, log) as process:
        wait_until_answered(process, f"{url}/ready", log, LIMIT_SECONDS)
        ready_seconds = time.perf_counter() - begin
        ask_for_a_token(url, model)
        first_token_seconds = time.perf_counter() - begin
        with urllib.request.urlopen(f"{url}/metrics", timeout=10) as response:
            phases = read_phases(response.read().decode())
    return Start(round(ready_seconds, 3), round(first_token_seconds, 3), phases)


def ask_for_a_token(url: str, model: str) -> None:
    body = json.dumps({"model": model, "prompt": [5, 6, 7, 8], "max_tokens": 1}).encode()
    request = urllib.request.Request(f"{url}/v1/completions", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        response.read()


def read_phases(page: str) -> dict[str, float]:
    families = [family for family in text_string_to_metric_families(page) if family.name == METRIC]
    return {sample.labels["phase"]: sample.value for family in families for sample in family.samples}


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench start", description=__doc__)
    add_model_arguments(parser)
    parser.add_argument("--repeats", type=int, default=3, help="starts; their median counts (default %(default)s)")
    parser.add_argument("--port", type=int, default=8124)
    parser.add_argument("--log", type=Path, help="keep the last server's log here")
    parser.add_argument("--note", default="", help="kept with the figures")
    parser.add_argument("flags", nargs="*", help="more flags of the server, after --")
    args = parser.parse_args(argv)
    exit_on_sigterm()
    recorder = Recorder(
        model=args.model,
        engine="ours",
        version=read_version(),
        gpu=read_gpu_name(),
        lines=args.lines,
        note=args.note,
    )
    command, url = build_command(args.model, args.folder, args.port, args.flags), f"http://127.0.0.1:{args.port}"
    with tempfile.TemporaryDirectory() as folder:
        log = args.log or Path(folder) / "server.log"
        starts = [measure_start(command, args.model, url, log).list_figures() for _ in range(args.repeats)]
        compiled = log.read_text(errors="replace").count("kernel compiled at first use")
    for work in starts[0]:
        note = f"{compiled} kernels compiled at first use" if work == "start phase capture_graphs" else ""
        recorder.record(work, "s", [figures[work] for figures in starts], note=note)
    return 0
