"""When a container ends, all its processes end. Here a mark in their environment says which those are.

A server that is killed leaves its engine behind, which would keep the model's memory from the one that comes next.
NB: found through /proc; where there is none, what is left stays.
"""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

MARK_VARIABLE = "PAGODA_RUN_CONTAINER"
PROCESSES = Path("/proc")


def kill_marked(mark: str) -> None:
    for pid in find_marked(mark):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def find_marked(mark: str) -> Iterator[int]:
    entry = f"{MARK_VARIABLE}={mark}".encode()
    for pid in _list_processes():
        with contextlib.suppress(OSError):  # another user's, or gone meanwhile
            if entry in (PROCESSES / pid / "environ").read_bytes().split(b"\0"):
                yield int(pid)


def _list_processes() -> list[str]:
    try:
        return [name for name in os.listdir(PROCESSES) if name.isdigit()]
    except OSError:  # none here, or too many open files
        return []
