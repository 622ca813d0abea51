"""The command lines of the server's processes: the flags that each reads, and what `serve` tells those that it starts.

Nothing of the engine or of HTTP is imported here, so that help and a refusal come at once.
"""

import argparse
import sys
import tempfile
from dataclasses import fields
from pathlib import Path

from pagoda_guard.flags import add_flags, build_arguments, read_settings
from pagoda_server.engine.config import EngineConfig
from pagoda_server.settings import FrontSettings, Settings

ENGINE_OF_SERVE = frozenset(field.name for field in fields(EngineConfig)) - {"socket"}
"""An engine's settings without its socket: `--socket` is the server's own, and the engine's lies beside it."""
ENGINE_OF_FRONT = frozenset({"model"})
SERVER_OF_FRONT = frozenset({"served_model_name", "namespace", "model_deployment", "tracing_endpoint", "pod_name"})


def add_serve_flags(parser: argparse.ArgumentParser) -> None:
    add_flags(parser, Settings)
    add_flags(parser, EngineConfig, ENGINE_OF_SERVE)


def add_front_flags(parser: argparse.ArgumentParser) -> None:
    add_flags(parser, FrontSettings)
    add_flags(parser, EngineConfig, ENGINE_OF_FRONT)
    add_flags(parser, Settings, SERVER_OF_FRONT)


def read_server(flags: argparse.Namespace) -> Settings:
    """Returns what `serve` is told. The engine's socket lies beside the server's, or in a new folder."""
    folder = Path(tempfile.mkdtemp(prefix="pagoda-")) if flags.socket is None else Path(flags.socket).parent
    return read_settings(Settings, flags, engine=read_settings(EngineConfig, flags, socket=folder / "engine.sock"))


def read_front(flags: argparse.Namespace) -> tuple[Settings, FrontSettings]:
    """Returns the server's settings, as far as a front is told, and the front's own."""
    front = read_settings(FrontSettings, flags)
    engine = read_settings(EngineConfig, flags, socket=front.engine_socket)
    return read_settings(Settings, flags, engine=engine), front


def build_engine_command(config: EngineConfig) -> list[str]:
    return [sys.executable, "-m", "pagoda_server", "engine", *build_arguments(config)]


def build_front_command(settings: Settings, number: int, listening_fd: int, tally_fd: int) -> list[str]:
    front = FrontSettings(
        engine_socket=settings.engine.socket, listening_fd=listening_fd, tally_fd=tally_fd, number=number
    )
    command = [sys.executable, "-m", "pagoda_server", "front", *build_arguments(front)]
    command += build_arguments(settings.engine, ENGINE_OF_FRONT)
    return command + build_arguments(settings, SERVER_OF_FRONT)
