"""What the front costs: the real server between an engine that keeps time and a crowd of streaming clients (Go).

The machine may be busy with other things, so that cost is CPU time from /proc, never the wall's: of the fronts, of the
engine's socket side (its main thread) and of its stepping thread. Prints one Markdown row per measurement.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path

from bench.work.model_dir import write_model_dir
from bench.work.shapes import SHAPES

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
MODEL = "qwen3-0.6b"
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
HEADS: tuple[str, ...] = (
    "load",
    "tokens/s",
    "of the engine's",
    "front µs",
    "of it kernel",
    "engine socket µs",
    "stepping µs",
)
HEADS += ("TTFT p50 ms", "ITL p50 ms", "ITL p99 ms", "tokens per event", "failed")


@dataclass(frozen=True, slots=True)
class Cpu:
    """Seconds used so far."""

    front: float
    front_kernel: float
    socket: float
    stepping: float


def read_seconds(stat: Path) -> tuple[float, float]:
    """Returns the seconds in all, and those of them in the kernel."""
    fields = stat.read_text().rpartition(")")[2].split()
    user, kernel = int(fields[11]) / TICKS_PER_SECOND, int(fields[12]) / TICKS_PER_SECOND
    return user + kernel, kernel


def find_tree(pid: int) -> Iterator[int]:
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            yield from find_tree(int(child))


def is_engine(pid: int) -> bool:
    return b"bench.front.engine" in Path(f"/proc/{pid}/cmdline").read_bytes()


def read_cpu(server: int) -> Cpu:
    tree = list(find_tree(server))
    (engine,) = (pid for pid in tree if is_engine(pid))
    fronts = [read_seconds(Path(f"/proc/{pid}/stat")) for pid in tree if pid != engine]
    socket, _ = read_seconds(Path(f"/proc/{engine}/task/{engine}/stat"))
    both, _ = read_seconds(Path(f"/proc/{engine}/stat"))
    return Cpu(sum(all for all, _ in fronts), sum(kernel for _, kernel in fronts), socket, both - socket)


@contextmanager
def run_server(folder: Path, streams: int, step_ms: float, code: Path, flags: list[str]) -> Iterator[tuple[int, str]]:
    socket = str(folder / "server.sock")
    paced = [str(step_ms), str(streams), str(SHAPES[MODEL].vocab_size)]
    common = ["--model", str(folder), "--served-model-name", "bench", "--socket", socket]
    environment = {**os.environ, "PYTHONPATH": f"{code}:{ROOT}"}
    command = [sys.executable, "-m", "bench.front.server", *paced, *common, *flags]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        yield process.pid, socket
    finally:
        process.terminate()
        process.wait(30)


def ask(ends: str, socket: str, **counts: int) -> dict[str, float]:
    words = [word for name, count in counts.items() for word in (f"-{name.replace('_', '-')}", str(count))]
    ended = subprocess.run([ends, "-socket", socket, *words], stdout=subprocess.PIPE, check=True)
    answer: dict[str, float] = json.loads(ended.stdout)
    return answer


def wait_ready(ends: str, socket: str) -> None:
    for _ in range(200):
        quiet = subprocess.run([ends, "-socket", socket, "-requests", "1"], capture_output=True, check=True)
        if json.loads(quiet.stdout)["failed"] == 0:
            return
        time.sleep(0.2)
    raise SystemExit("the server did not become ready")


def measure(ends: str, folder: Path, args: argparse.Namespace, streams: int) -> str:
    with run_server(folder, streams, args.step_ms, args.code, args.flags) as (pid, socket):
        wait_ready(ends, socket)
        ask(ends, socket, streams=streams, requests=streams, tokens_out=8)
        before = read_cpu(pid)
        seen = ask(ends, socket, streams=streams, requests=streams * args.rounds, tokens_out=args.tokens_out)
        after = read_cpu(pid)
    rate, offline = seen["tokens"] / seen["seconds"], streams / args.step_ms * 1000
    used = [(now - then) / seen["tokens"] * 1e6 for now, then in zip(astuple(after), astuple(before), strict=True)]
    row = [f"{streams} streams, {args.step_ms:g} ms", f"{rate:,.0f}", f"{rate / offline:.0%}"]
    row += [f"{cost:.1f}" for cost in used]
    row += [f"{seen[name]:.1f}" for name in ("ttft_p50_ms", "itl_p50_ms", "itl_p99_ms")]
    row += [f"{seen['tokens'] / seen['events']:.2f}", f"{seen['failed']:.0f}"]
    return "| " + " | ".join(row) + " |"


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench front", description=__doc__)
    parser.add_argument("--streams", type=int, nargs="*", default=[256])
    parser.add_argument("--step-ms", type=float, default=10.0, help="of the engine's device (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=2, help="requests per stream (default %(default)s)")
    parser.add_argument("--tokens-out", type=int, default=256, help="of an answer; 1: a token's cost is a request's")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--code", type=Path, default=ROOT / "server_image", help="the folder that holds pagoda_server")
    parser.add_argument("flags", nargs="*", help="of `serve`, after --")
    args = parser.parse_args(argv)
    print("| " + " | ".join(HEADS) + " |\n" + "|---" * len(HEADS) + "|", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_model_dir(MODEL, folder)
        subprocess.run(["go", "build", "-o", str(folder / "ends"), "."], cwd=HERE, check=True)
        for streams in args.streams:
            for _ in range(args.repeat):
                print(measure(str(folder / "ends"), folder, args, streams), flush=True)
    return 0
