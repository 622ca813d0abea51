"""Every setting of the server in one frozen value, so that nothing else reads flags or the environment.

Only `__main__` builds one. A bad value stops the process with its name.
"""

import math
from dataclasses import dataclass
from pathlib import Path

from pagoda_server.engine.config import EngineConfig

LEAST_STALE_SECONDS = 2.0
"""Some of the signs of life that processes give twice a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    engine: EngineConfig
    served_model_name: str
    socket: Path | None = None
    """The unix socket of the HTTP front. None: listen on `host` and `port`."""
    host: str = "127.0.0.1"
    port: int = 8000
    namespace: str = ""
    model_deployment: str = ""
    """Whose server this is, for the labels of its metrics; empty outside of a cluster."""
    workers: int = 1
    """Processes of the HTTP front: they share the listening socket, and each tokenises for itself."""
    max_body_bytes: int = 4 * 1024 * 1024
    stats_stale_seconds: float = 15.0
    """Without a word from the engine for this long, the server is not healthy."""

    stale_seconds: float = 60.0
    """An engine or a front that gives no sign of life for this long is killed."""

    def __post_init__(self) -> None:
        if not self.served_model_name:
            raise ValueError("served_model_name is empty: give the name that requests put in `model`")
        if not LEAST_STALE_SECONDS <= self.stale_seconds < math.inf:
            raise ValueError(f"stale_seconds is {self.stale_seconds}: give at least {LEAST_STALE_SECONDS:g}")
        if not 0 <= self.port < 65536:
            raise ValueError(f"port is {self.port}: give 0 to 65535")
        if self.workers < 1:
            raise ValueError(f"workers is {self.workers}: give at least 1")
        for name in ("max_body_bytes", "stats_stale_seconds"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}: give more than 0")
