"""`python -m pagoda_server COMMAND`: flags become settings, then a command runs.

Each command imports what it needs when it runs: torch is slow to import, and neither a front nor a drain has any use
for it.
"""

import argparse
import asyncio
import logging
import os
import sys
from functools import partial

from pagoda_guard.flags import add_flags, read_settings
from pagoda_guard.parent import end_with_parent
from pagoda_guard.termination import REFUSED, end_on_sigterm
from pagoda_server.engine.config import EngineConfig
from pagoda_server.http.engine_client import EngineGone
from pagoda_server.parallel.channel import end_at_once
from pagoda_server.process.child import write_reason
from pagoda_server.process.command_lines import (
    add_front_flags,
    add_serve_flags,
    build_engine_command,
    build_front_command,
    read_front,
    read_server,
)
from pagoda_server.process.drain import run_drain
from pagoda_server.process.supervisor import serve
from pagoda_server.settings import ChildSettings, CompileSettings, DrainSettings, RankSettings

log = logging.getLogger(__name__)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pagoda_server", description="The model server of one pod.")
    commands = parser.add_subparsers(dest="command", required=True)
    add_serve_flags(commands.add_parser("serve", help="engine and OpenAI-compatible HTTP front"))
    add_serve_flags(commands.add_parser("check", help="whether `serve` would refuse its settings for this model"))
    add_flags(commands.add_parser("engine", help="the engine alone; `serve` starts it"), EngineConfig)
    add_front_flags(commands.add_parser("front", help="one process of the HTTP front; `serve` starts it"))
    rank = commands.add_parser("engine-rank", help="a further rank of a divided model; `engine` starts it")
    add_flags(rank, RankSettings)
    for process in list(commands.choices.values()):
        add_flags(process, ChildSettings)
    add_flags(commands.add_parser("drain", help="preStop: tell the gateway to drain, and wait"), DrainSettings)
    ahead = commands.add_parser("compile", help="kernels of common models for an image, on a machine without a GPU")
    add_flags(ahead, CompileSettings)
    return parser


def main(argv: list[str] | None = None) -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    flags, child = build_parser().parse_args(argv), ChildSettings()
    try:
        child = read_settings(ChildSettings, flags)
        if child.parent_pid is not None:
            end_with_parent(child.parent_pid)
        return run(flags)
    except (ValueError, EngineGone) as error:
        code, reason = REFUSED if isinstance(error, ValueError) else 1, str(error)
    except Exception as error:
        log.critical("%s cannot continue", flags.command, exc_info=True)
        code, reason = 1, f"{type(error).__name__}: {error}"
    print(f"pagoda_server {flags.command}: {reason}", file=sys.stderr, flush=True)
    if child.reason_fd is not None:
        write_reason(child.reason_fd, reason)
    if flags.command == "engine" and flags.tensor_parallel not in (None, "1"):
        end_at_once(code)
    return code


def run(flags: argparse.Namespace) -> int:
    match flags.command:
        case "serve":
            return run_serve(flags)
        case "check":
            return run_check(flags)
        case "engine":
            return run_engine_alone(flags)
        case "engine-rank":
            return run_rank(flags)
        case "front":
            return run_front(flags)
        case "compile":
            return run_compile(flags)
        case _:
            return run_drain(read_settings(DrainSettings, flags))


def run_serve(flags: argparse.Namespace) -> int:
    end_on_sigterm()
    settings = read_server(flags)
    return asyncio.run(serve(settings, build_engine_command(settings.engine), partial(build_front_command, settings)))


def run_check(flags: argparse.Namespace) -> int:
    """Reads the model's small files only, and imports no torch. Raises `UnsupportedModel` or ValueError."""
    from pagoda_server.model.config import read_model_config
    from pagoda_server.start.refusals import refuse_settings

    config = read_server(flags).engine
    refuse_settings(config, read_model_config(config.model))
    return 0


def share_cpus() -> None:
    """Lets torch's threads sleep while they wait for each other. NB: libgomp reads this when it is loaded.

    By default they spin, and where others use the CPUs too each waits for one that cannot run: a step of the sample
    model then takes a hundred times as long.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def run_engine_alone(flags: argparse.Namespace) -> int:
    config = read_settings(EngineConfig, flags)
    share_cpus()
    from pagoda_server.process.engine import run_engine

    run_engine(config)
    return 0


def run_rank(flags: argparse.Namespace) -> int:
    share_cpus()
    from pagoda_server.process.rank import run_follower

    run_follower(read_settings(RankSettings, flags).descriptor)
    return 0


def run_front(flags: argparse.Namespace) -> int:
    from pagoda_server.process.front import run_front_alone

    return run_front_alone(*read_front(flags))


def run_compile(flags: argparse.Namespace) -> int:
    from pagoda_server.kernels.shipped import SHIPPED
    from pagoda_server.start.compile_ahead import compile_common, plan_tasks

    settings = read_settings(CompileSettings, flags)
    jobs = (os.cpu_count() or 1) if settings.jobs is None else settings.jobs
    compile_common(plan_tasks(settings.targets, settings.models), settings.folder or SHIPPED, jobs)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
