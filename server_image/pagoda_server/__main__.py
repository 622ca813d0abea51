"""`python -m pagoda_server serve|engine|engine-rank|front|drain|compile`: the only place that reads flags."""

import argparse
import asyncio
import logging
import mmap
import os
import socket
import sys
import tempfile
import urllib.error
import urllib.request
from functools import partial
from pathlib import Path

from pagoda_guard.parent import end_with_parent
from pagoda_server.engine.config import EngineConfig
from pagoda_server.http.engine_client import EngineGone
from pagoda_server.http.tally import Tally
from pagoda_server.parallel.channel import end_at_once
from pagoda_server.process.child import write_reason
from pagoda_server.process.supervisor import serve
from pagoda_server.settings import Settings

log = logging.getLogger(__name__)
MOST_WORKERS = 4
DRAIN_SLACK_SECONDS = 10


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pagoda_server", description="The model server of one pod.")
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="engine and OpenAI-compatible HTTP front")
    serve.add_argument("--socket", type=Path, help="unix socket to listen on (instead of --host and --port)")
    serve.add_argument("--host", default="127.0.0.1", help="address, when no --socket (default %(default)s)")
    serve.add_argument("--port", type=int, default=8000, help="port, when no --socket (default %(default)s)")
    serve.add_argument("--workers", type=int, help="processes of the HTTP front (default: 1 on CPU, else up to 4)")
    serve.add_argument(
        "--stale-seconds",
        type=float,
        default=60.0,
        help="an engine or front that gives no sign of life for so long is killed (default %(default)s)",
    )
    engine = commands.add_parser("engine", help="the engine alone; `serve` starts it")
    engine.add_argument("--socket", type=Path, required=True, help="unix socket to listen on")
    for command in (serve, engine):
        _add_engine_flags(command)
    front = commands.add_parser("front", help="one process of the HTTP front; `serve` starts it")
    _add_front_flags(front)
    rank = commands.add_parser("engine-rank", help="a further rank of a divided model; `engine` starts it")
    rank.add_argument("--descriptor", type=int, required=True, help="the socket to the engine")
    for command in (serve, front):
        _add_name_flags(command)
    parser.set_defaults(parent_pid=None, reason_fd=None)
    for command in (serve, engine, front, rank):
        _add_child_flags(command)
    drain = commands.add_parser("drain", help="preStop: tell the gateway to drain, and wait")
    drain.add_argument("--seconds", type=float, required=True, help="the longest to wait")
    drain.add_argument("--admin", default="http://127.0.0.1:8001", help="the gateway's address (default %(default)s)")
    compiling = commands.add_parser("compile", help="kernels of common models for an image, on a machine without a GPU")
    compiling.add_argument(
        "--targets", type=int, nargs="+", default=[80, 89, 90], help="compute capabilities (default %(default)s)"
    )
    compiling.add_argument("--models", nargs="+", help="of `start/common_shapes.py` (default: all)")
    compiling.add_argument("--folder", type=Path, help="where to keep them (default: where a server looks)")
    compiling.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes (default %(default)s)")
    return parser


def _add_child_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--parent-pid", type=int, help="the process with which this one ends, however that one ends")
    parser.add_argument("--reason-fd", type=int, help="the file into which this process writes why it ends")


def _add_name_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--served-model-name", required=True, help="the name that requests put in `model`")
    parser.add_argument("--namespace", default="", help="label of the metrics: the ModelDeployment's namespace")
    parser.add_argument("--model-deployment", default="", help="label of the metrics: the ModelDeployment's name")


def _add_front_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=Path, required=True, help="folder with the model's files")
    parser.add_argument("--engine-socket", type=Path, required=True, help="unix socket at which the engine listens")
    parser.add_argument("--listening-fd", type=int, required=True, help="the socket that all fronts accept from")
    parser.add_argument("--tally-fd", type=int, required=True, help="the file in which all fronts count")
    parser.add_argument("--number", type=int, required=True, help="of this front, from 0")


def _add_engine_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=Path, required=True, help="folder with the model's files")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--dtype", choices=("auto", "float32", "bfloat16", "float16"), default="auto")
    parser.add_argument(
        "--quantization", choices=("none", "fp8"), default="none", help="of the weights (none: as they are stored)"
    )
    parser.add_argument(
        "--kv-cache-dtype", choices=("auto", "fp8"), default="auto", help="of keys and values (auto: the activations')"
    )
    parser.add_argument("--max-model-len", type=int, help="most tokens of prompt and answer (default: the model's)")
    parser.add_argument("--max-num-seqs", type=int, default=256, help="most requests in a batch (default %(default)s)")
    parser.add_argument("--max-batched-tokens", type=int, default=2048, help="most tokens a step (default %(default)s)")
    parser.add_argument(
        "--max-wait-seconds",
        type=float,
        default=60.0,
        help="longest wait for a turn in the engine (default %(default)s)",
    )
    parser.add_argument("--tensor-parallel", type=int, default=1, help="GPUs to divide the model over (default 1)")
    parser.add_argument("--gpu-memory-fraction", type=float, default=0.9, help="of each GPU (default %(default)s)")
    parser.add_argument("--no-prefix-caching", action="store_true", help="never reuse the pages of equal prefixes")
    parser.add_argument(
        "--deterministic", action="store_true", help="the same tokens whatever runs beside a request (GPU; slower)"
    )
    parser.add_argument(
        "--no-measure-projections",
        action="store_true",
        help="leave all projections to cuBLAS, and do not time our small-batch kernels beside it at start",
    )


def build_engine_config(args: argparse.Namespace, socket: Path) -> EngineConfig:
    return EngineConfig(
        model=args.model,
        socket=socket,
        device=args.device,
        dtype=args.dtype,
        quantization=args.quantization,
        kv_cache_dtype=args.kv_cache_dtype,
        max_model_len=args.max_model_len,
        max_num_seqs=args.max_num_seqs,
        max_batched_tokens=args.max_batched_tokens,
        max_wait_seconds=args.max_wait_seconds,
        tensor_parallel=args.tensor_parallel,
        gpu_memory_fraction=args.gpu_memory_fraction,
        prefix_caching=not args.no_prefix_caching,
        deterministic=args.deterministic,
        measure_projections=not args.no_measure_projections,
    )


def build_settings(args: argparse.Namespace) -> Settings:
    folder = args.socket.parent if args.socket else Path(tempfile.mkdtemp(prefix="pagoda-"))
    return Settings(
        engine=build_engine_config(args, folder / "engine.sock"),
        served_model_name=args.served_model_name,
        socket=args.socket,
        host=args.host,
        port=args.port,
        namespace=args.namespace,
        model_deployment=args.model_deployment,
        stale_seconds=args.stale_seconds,
        workers=plan_workers(args.device, os.cpu_count() or 1) if args.workers is None else args.workers,
    )


def plan_workers(device: str, cores: int) -> int:
    """An engine on CPU makes fewer tokens than one front can write, and wants the cores and the memory itself."""
    return 1 if device == "cpu" else max(1, min(MOST_WORKERS, cores // 2))


def build_front_command(settings: Settings, number: int, listening: int, tally: int) -> list[str]:
    flags = {
        "--model": settings.engine.model,
        "--engine-socket": settings.engine.socket,
        "--served-model-name": settings.served_model_name,
        "--namespace": settings.namespace,
        "--model-deployment": settings.model_deployment,
        "--listening-fd": listening,
        "--tally-fd": tally,
        "--number": number,
    }
    command = [sys.executable, "-m", "pagoda_server", "front"]
    return command + [f"{flag}={value}" for flag, value in flags.items()]


def build_engine_command(config: EngineConfig) -> list[str]:
    flags = {
        "--model": config.model,
        "--socket": config.socket,
        "--device": config.device,
        "--dtype": config.dtype,
        "--quantization": config.quantization,
        "--kv-cache-dtype": config.kv_cache_dtype,
        "--max-model-len": config.max_model_len,
        "--max-num-seqs": config.max_num_seqs,
        "--max-batched-tokens": config.max_batched_tokens,
        "--max-wait-seconds": config.max_wait_seconds,
        "--tensor-parallel": config.tensor_parallel,
        "--gpu-memory-fraction": config.gpu_memory_fraction,
    }
    command = [sys.executable, "-m", "pagoda_server", "engine"]
    for flag, value in flags.items():
        if value is not None:
            command += [flag, str(value)]
    switches = {
        "--no-prefix-caching": not config.prefix_caching,
        "--deterministic": config.deterministic,
        "--no-measure-projections": not config.measure_projections,
    }
    return command + [switch for switch, is_on in switches.items() if is_on]


def run_serve(args: argparse.Namespace) -> int:
    settings = build_settings(args)
    return asyncio.run(serve(settings, build_engine_command(settings.engine), partial(build_front_command, settings)))


def run_front_alone(args: argparse.Namespace) -> int:
    import uvloop

    from pagoda_server.process.front import run_front

    settings = Settings(
        engine=EngineConfig(model=args.model, socket=args.engine_socket),
        served_model_name=args.served_model_name,
        namespace=args.namespace,
        model_deployment=args.model_deployment,
    )
    tally = Tally(mmap.mmap(args.tally_fd, 0), args.number)
    code: int = uvloop.run(run_front(settings, socket.socket(fileno=args.listening_fd), tally))
    return code


def run_engine_alone(args: argparse.Namespace) -> int:
    from pagoda_server.process.engine import run_engine

    run_engine(build_engine_config(args, args.socket))
    return 0


def run_engine_rank(descriptor: int) -> int:
    from pagoda_server.process.rank import run_follower

    run_follower(descriptor)
    return 0


def run_compile(args: argparse.Namespace) -> int:
    from pagoda_server.kernels.shipped import SHIPPED
    from pagoda_server.start.compile_ahead import compile_common, plan_tasks

    compile_common(plan_tasks(args.targets, args.models), args.folder or SHIPPED, args.jobs)
    return 0


def run_drain(admin: str, seconds: float) -> int:
    request = urllib.request.Request(
        f"{admin}/drain?seconds={seconds:g}", method="POST", headers={"X-Pagoda-Admin": "1"}
    )
    try:
        with urllib.request.urlopen(request, timeout=seconds + DRAIN_SLACK_SECONDS):
            print("drained")
            return 0
    except urllib.error.HTTPError as error:
        with error:
            print(f"the gateway at {admin} answered {error.code} to the drain")
        return 1
    except OSError as error:
        print(f"the gateway at {admin} is not reachable, nothing to drain: {error}")
        return 0


def main(argv: list[str] | None = None) -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    args = build_parser().parse_args(argv)
    if args.parent_pid is not None:
        end_with_parent(args.parent_pid)
    try:
        return run(args)
    except (ValueError, EngineGone) as error:
        code, reason = 2 if isinstance(error, ValueError) else 1, str(error)
    except Exception as error:
        log.critical("%s cannot continue", args.command, exc_info=True)
        code, reason = 1, f"{type(error).__name__}: {error}"
    print(f"pagoda_server {args.command}: {reason}", file=sys.stderr, flush=True)
    if args.reason_fd is not None:
        write_reason(args.reason_fd, reason)
    if args.command == "engine" and args.tensor_parallel > 1:
        end_at_once(code)
    return code


def run(args: argparse.Namespace) -> int:
    match args.command:
        case "serve":
            return run_serve(args)
        case "engine":
            return run_engine_alone(args)
        case "engine-rank":
            return run_engine_rank(args.descriptor)
        case "front":
            return run_front_alone(args)
        case "compile":
            return run_compile(args)
        case _:
            return run_drain(args.admin, args.seconds)


if __name__ == "__main__":
    raise SystemExit(main())
