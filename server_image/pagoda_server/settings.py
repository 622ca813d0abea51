"""Every setting of the server's programs, each in a frozen value, so that nothing else reads flags or the environment.

`serve` is told `Settings` and the engine's `EngineConfig`. What it tells the processes that it starts are fields of
these two, and what they inherit.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pagoda_guard.collector import parse_endpoint
from pagoda_guard.settings import Setting, SettingError, check
from pagoda_server.dialog.choose import AUTO, check_reasoning_parser, check_tool_parser
from pagoda_server.engine.config import EngineConfig

MINIMUM_STALE_SECONDS = 2.0
MAXIMUM_WORKERS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    engine: EngineConfig
    served_model_name: Annotated[str, Setting("the name that requests put in `model`", is_filled=True)]
    socket: Annotated[Path | None, Setting("the unix socket to listen on, instead of host and port")] = None
    host: Annotated[str, Setting("the address to listen on, without a socket")] = "127.0.0.1"
    port: Annotated[int, Setting("the port to listen on, without a socket", minimum=0, maximum=65535)] = 8000
    tool_parser: Annotated[
        str,
        Setting(
            "how the model writes calls of tools; auto: by its template; none: they are not looked for",
            parse=check_tool_parser,
        ),
    ] = AUTO
    reasoning_parser: Annotated[
        str,
        Setting(
            "how the model marks its reasoning; auto: by its template; none: it is not split from the answer",
            parse=check_reasoning_parser,
        ),
    ] = AUTO
    namespace: Annotated[str, Setting("label of the metrics: the ModelDeployment's namespace")] = ""
    model_deployment: Annotated[str, Setting("label of the metrics: the ModelDeployment's name")] = ""
    tracing_endpoint: Annotated[
        str, Setting("http://HOST:PORT of a collector that takes OTLP; empty: nothing is traced", parse=parse_endpoint)
    ] = ""
    """A request is traced when its traceparent says so, which the gateway decides."""
    pod_name: Annotated[str, Setting("what traces call this pod")] = ""
    workers: Annotated[
        int | None,
        Setting(f"processes of the HTTP front; by default 1 on CPU, else cores / 2 up to {MAXIMUM_WORKERS}", minimum=1),
    ] = None
    """They share the listening socket, and each tokenises for itself."""
    stale_seconds: Annotated[
        float,
        Setting(f"an engine or front without a sign of life for so long is killed; at least {MINIMUM_STALE_SECONDS:g}"),
    ] = 60.0
    max_body_bytes: Annotated[int, Setting("the longest body of a request", minimum=1, has_flag=False)] = 4 * 2**20
    stats_stale_seconds: Annotated[
        float, Setting("without a word from the engine for so long, the server is not healthy", above=0, has_flag=False)
    ] = 15.0

    def __post_init__(self) -> None:
        check(self)
        if not MINIMUM_STALE_SECONDS <= self.stale_seconds < math.inf:
            raise SettingError(
                f"stale_seconds is {self.stale_seconds}: give at least {MINIMUM_STALE_SECONDS:g}, "
                "for processes give a sign of life twice per second"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontSettings:
    """What one front is told beside the server's settings. It inherits the descriptors."""

    engine_socket: Annotated[Path, Setting("the unix socket at which the engine listens")]
    listening_fd: Annotated[int, Setting("the socket that all fronts accept from")]
    tally_fd: Annotated[int, Setting("the file in which all fronts count")]
    number: Annotated[int, Setting("the number of this front, from 0")]


@dataclass(frozen=True, slots=True, kw_only=True)
class RankSettings:
    """All that a further rank is told on its command line: the rest comes over the socket."""

    descriptor: Annotated[int, Setting("the socket to the engine")]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSettings:
    """What every process is told by the one that starts it, if one of ours does."""

    parent_pid: Annotated[int | None, Setting("the process with which this one ends, however that one ends")] = None
    reason_fd: Annotated[int | None, Setting("the file into which this process writes why it ends")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainSettings:
    seconds: Annotated[float, Setting("the longest wait")]
    admin: Annotated[str, Setting("the gateway's own address")] = "http://127.0.0.1:8001"


@dataclass(frozen=True, slots=True, kw_only=True)
class CompileSettings:
    targets: Annotated[tuple[int, ...], Setting("compute capabilities", takes_words=True)] = (80, 89, 90)
    models: Annotated[
        tuple[str, ...] | None, Setting("of `start/common_shapes.py`; by default all", takes_words=True)
    ] = None
    folder: Annotated[Path | None, Setting("where to keep them; by default where a server looks")] = None
    jobs: Annotated[int | None, Setting("processes; by default one per core")] = None
