"""What a well-behaved tenant feels while another attacks: `python -m bench attacks FOLDER MODEL`.

A server and its gateway are started. Streams of one tenant run alone, then beside each attack: the gaps between their
tokens, how long `/health` takes, and the maximum of the gateway's and the fronts' memory.
"""

import argparse
import json
import multiprocessing
import resource
import secrets
import statistics
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.processes import exit_on_sigterm, running
from bench.serving.attacks.attacks import ATTACKS, Target, run_attack
from bench.serving.http_load import Load, Report, add_load_arguments, percentile_ms, run_load
from bench.serving.server import wait_until_answered

HEALTH_SECONDS = 0.2
SETTLE_SECONDS = 3.0
"""Between an attack's end and the next measurement."""
START_LIMIT_SECONDS = 600.0


@dataclass(slots=True)
class Watched:
    """What is seen of the endpoint from outside while a load runs."""

    health_seconds: list[float] = field(default_factory=list)
    unhealthy: int = 0
    memory_mib: dict[str, float] = field(default_factory=dict)
    """The maximum, by the process's name."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    port: int
    pids: dict[str, int]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def read_memory_mib(pid: int) -> float:
    """Returns the resident memory of a process and its children; 0 when it has gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0.0
    own = next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS")), 0.0)
    return own + sum(read_memory_mib(int(child)) for child in children)


@contextmanager
def watching(endpoint: Endpoint) -> Iterator[Watched]:
    seen, ended = Watched(), threading.Event()

    def look() -> None:
        while not ended.wait(HEALTH_SECONDS):
            begin = time.monotonic()
            try:
                with urllib.request.urlopen(f"{endpoint.url}/health", timeout=30) as answer:
                    seen.unhealthy += answer.status != 200
            except OSError:
                seen.unhealthy += 1
            seen.health_seconds.append(time.monotonic() - begin)
            for name, pid in endpoint.pids.items():
                seen.memory_mib[name] = max(seen.memory_mib.get(name, 0.0), round(read_memory_mib(pid), 1))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()


@contextmanager
def attacking(name: str | None, target: Target) -> Iterator[None]:
    if name is None:
        yield
        return
    process = multiprocessing.get_context("spawn").Process(target=run_attack, args=(name, target), daemon=True)
    process.start()
    try:
        time.sleep(SETTLE_SECONDS)
        yield
        if not process.is_alive():
            raise RuntimeError(f"the attack {name} ended by itself with exit code {process.exitcode}")
    finally:
        process.kill()
        process.join()


@contextmanager
def serving(
    folder: Path, model: str, port: int, logs: Path, *, server_flags: list[str]
) -> Iterator[tuple[Endpoint, str, str]]:
    """Yields the endpoint, and the keys of the good and of the bad tenant."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        keys = {tenant: secrets.token_urlsafe(32) for tenant in ("good", "bad")}
        (root / "keys").mkdir()
        for tenant, key in keys.items():
            (root / "keys" / tenant).write_text(key)
        names = ["--namespace", "bench", "--model-deployment", "bench"]
        socket = ["--socket", str(root / "server.sock"), "--served-model-name", model]
        server = [
            sys.executable,
            "-m",
            "pagoda_server",
            "serve",
            "--model",
            str(folder),
            *socket,
            *names,
            *server_flags,
        ]
        gateway = [sys.executable, "-m", "pagoda_gateway", "sidecar", "--upstream", str(root / "server.sock")]
        gateway += ["--listen", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{port + 1}", "--model-name", model, *names]
        gateway += ["--max-queued", "256", "--max-queued-tokens", "1000000", "--max-wait-seconds", "60"]
        gateway += ["--backlog-drain-seconds", "15", "--api-keys-dir", str(root / "keys")]
        pids = {}
        for name, command in (("server", server), ("gateway", gateway)):
            output = stack.enter_context((logs / f"{name}.log").open("wb"))
            process = stack.enter_context(running(command, stop_seconds=30, output=output))
            pids[name] = process.pid
        wait_until_answered(process, f"http://127.0.0.1:{port}/ready", logs / "server.log", START_LIMIT_SECONDS)
        yield Endpoint(port, pids), keys["good"], keys["bad"]


def measure(endpoint: Endpoint, load: Load, attack: str | None, target: Target) -> tuple[Report, Watched]:
    with attacking(attack, target), watching(endpoint) as seen:
        report = run_load(load)
    time.sleep(SETTLE_SECONDS)
    return report, seen


def describe(name: str, report: Report, seen: Watched, alone: Report) -> dict[str, object]:
    return {
        "attack": name,
        "itl_p50_ms": report.itl_p50_ms,
        "itl_p99_ms": report.itl_p99_ms,
        "itl_p99_ratio": round(report.itl_p99_ms / alone.itl_p99_ms, 2),
        "itl_max_ms": report.itl_max_ms,
        "ttft_p99_ms": report.ttft_p99_ms,
        "failed": report.failed,
        "first_error": report.first_error,
        "health_p50_ms": round(1000 * statistics.median(seen.health_seconds), 1),
        "health_max_ms": percentile_ms(seen.health_seconds, 100),
        "unhealthy": seen.unhealthy,
        **{f"{process}_mib": mib for process, mib in seen.memory_mib.items()},
    }


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench attacks", description=__doc__)
    parser.add_argument("folder", type=Path, help="a model's folder, such as python -m bench model-dir writes")
    parser.add_argument("model", help="the name to serve it under")
    add_load_arguments(parser, streams=200, requests=800)
    parser.add_argument("--only", nargs="+", choices=sorted(ATTACKS), default=list(ATTACKS), help="default: all")
    parser.add_argument("--port", type=int, default=8140)
    parser.add_argument("--logs", type=Path, default=Path(), help="folder for the logs (default: here)")
    parser.add_argument("--server-flags", nargs=argparse.REMAINDER, default=[], help="handed to the server")
    args = parser.parse_args(argv)
    exit_on_sigterm()
    with serving(args.folder, args.model, args.port, args.logs, server_flags=args.server_flags) as (
        endpoint,
        good,
        bad,
    ):
        target = Target("127.0.0.1", args.port, args.model, bad)
        load = Load(
            url=endpoint.url,
            model=args.model,
            streams=args.streams,
            requests=args.requests,
            tokens_in=args.tokens_in,
            tokens_out=args.tokens_out,
            api_key=good,
            largest_token_id=args.largest_token_id,
        )
        run_load(load)  # warms up
        alone, seen = measure(endpoint, load, None, target)
        print(json.dumps(describe("none", alone, seen, alone)), flush=True)
        for name in args.only:
            report, seen = measure(endpoint, load, name, target)
            print(json.dumps(describe(name, report, seen, alone)), flush=True)
    return 0
