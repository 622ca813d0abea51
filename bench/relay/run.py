"""What the gateway costs: CPU per chunk and per request, memory and added latency, with the real program in the middle.

The machine may be busy with other things, so that time is the process's own CPU time from /proc, never the wall's.
Needs Go for the two ends (`main.go`); prints one Markdown row per measurement.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

HERE = Path(__file__).resolve().parent
CODE = HERE.parents[1] / "server_image"
PORT, ADMIN_PORT = 18470, 18471
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Load:
    streams: int
    gap_seconds: float
    ramp_seconds: float
    window_seconds: float

    @property
    def chunks(self) -> int:
        """Returns enough for the first stream to run still when the window ends."""
        return int((self.ramp_seconds + self.window_seconds + 5) / self.gap_seconds)


@dataclass(frozen=True, slots=True)
class Sample:
    lines: int
    failed: int
    p99_ms: float
    cpu_seconds: float
    rss_mb: float


def read_cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


def read_rss_mb(pid: int) -> float:
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


@contextmanager
def run_program(command: list[str], **options: object) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(command, text=True, **options)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def build_ends(folder: Path) -> str:
    subprocess.run(["go", "build", "-o", str(folder / "ends"), "."], cwd=HERE, check=True)
    return str(folder / "ends")


def gateway_command(socket: str, *, running: int) -> list[str]:
    words = f"-m pagoda_gateway sidecar --listen 127.0.0.1:{PORT} --admin 127.0.0.1:{ADMIN_PORT} --upstream {socket}"
    words += f" --model-name m --namespace n --model-deployment d --max-running {running} --max-queued 100000"
    words += " --max-queued-tokens 100000000 --max-wait-seconds 600 --backlog-drain-seconds 10 --ping-seconds 5"
    return [sys.executable, *words.split()]


def wait_ready() -> None:
    for _ in range(200):
        try:
            urlopen(f"http://127.0.0.1:{PORT}/ready", timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise SystemExit("the gateway did not become ready")


def crowd_command(ends: str, address: str, load: Load) -> list[str]:
    target = f"/v1/completions?chunks={load.chunks}&gap={load.gap_seconds * 1000:g}ms"
    words = f"-address {address} -target {target} -streams {load.streams} -ramp {load.ramp_seconds:g}s"
    return [ends, *words.split(), "-window", f"{load.window_seconds:g}s"]


def watch_crowd(command: list[str], pid: int | None, *, until: str) -> dict[str, Sample]:
    """Returns what the clients saw and what the gateway had used by then, for each moment that the clients tell."""
    samples = {}
    with run_program(command, stdout=subprocess.PIPE) as crowd:
        assert crowd.stdout is not None
        for line in crowd.stdout:
            seen = json.loads(line)
            cpu, rss = (read_cpu_seconds(pid), read_rss_mb(pid)) if pid else (0.0, 0.0)
            samples[seen["event"]] = Sample(seen["lines"], seen["failed"], seen["p99_ms"], cpu, rss)
            if seen["event"] == until:
                break
    return samples


def start_gateway(stack: ExitStack, ends: str, folder: Path, code: Path, *, running: int) -> tuple[int, str]:
    socket = str(folder / f"{time.monotonic_ns()}.sock")
    stack.enter_context(run_program([ends, "-source", socket]))
    environment = {**os.environ, "PYTHONPATH": str(code)}
    command = gateway_command(socket, running=running)
    gateway = stack.enter_context(run_program(command, env=environment, stderr=subprocess.DEVNULL))
    wait_ready()
    return gateway.pid, socket


def measure_streams(ends: str, folder: Path, code: Path, load: Load) -> str:
    with ExitStack() as stack:
        pid, socket = start_gateway(stack, ends, folder, code, running=100_000)
        direct = watch_crowd(crowd_command(ends, socket, load), None, until="window")["window"]
        before = read_cpu_seconds(pid)
        seen = watch_crowd(crowd_command(ends, f"127.0.0.1:{PORT}", load), pid, until="end")
    opened, window = seen["open"], seen["window"]
    chunk_us = (window.cpu_seconds - opened.cpu_seconds) / (window.lines - opened.lines) * 1e6
    request_us = ((opened.cpu_seconds - before) * 1e6 - opened.lines * chunk_us) / load.streams
    added_ms = window.p99_ms - direct.p99_ms
    return (
        f"| {load.streams:,} streams | {chunk_us:.1f} | {request_us:.0f} | {window.rss_mb:.0f} MB | {added_ms:.1f} ms "
        f"| {window.p99_ms:.1f} ms | {window.lines - opened.lines:,} | {seen['end'].failed} |"
    )


def measure_waiting(ends: str, folder: Path, code: Path, load: Load) -> str:
    with ExitStack() as stack:
        pid, _ = start_gateway(stack, ends, folder, code, running=1)
        before, address = read_cpu_seconds(pid), f"127.0.0.1:{PORT}"
        seen = watch_crowd(crowd_command(ends, address, load), pid, until="window")
    opened, window = seen["open"], seen["window"]
    ping_us = (window.cpu_seconds - opened.cpu_seconds) / (window.lines - opened.lines) * 1e6
    request_us = ((opened.cpu_seconds - before) * 1e6 - opened.lines * ping_us) / load.streams
    return (
        f"| {load.streams:,} waiting | {ping_us:.1f} (per ping) | {request_us:.0f} | {window.rss_mb:.0f} MB | | "
        f"| {window.lines - opened.lines:,} | {window.failed} |"
    )


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench relay", description=__doc__)
    parser.add_argument("--streams", type=int, nargs="*", default=[500, 2000, 8000])
    parser.add_argument("--waiting", type=int, nargs="*", default=[10_000])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--window", type=float, default=15.0, help="seconds measured once all streams are open")
    parser.add_argument("--gap", type=float, default=0.5, help="seconds between the chunks of a stream")
    parser.add_argument("--code", type=Path, default=CODE, help="the folder that holds pagoda_gateway")
    flags = parser.parse_args(argv)
    print("| load | CPU µs per chunk | CPU µs per request | RSS | added p99 | p99 | chunks | failed |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ends = build_ends(folder)
        for measure, sizes in ((measure_streams, flags.streams), (measure_waiting, flags.waiting)):
            for streams in sizes:
                load = Load(streams, flags.gap, max(streams / 500, 3.0), flags.window)
                for _ in range(flags.repeat):
                    print(measure(ends, folder, flags.code, load), flush=True)
    return 0
