"""Child processes that leave nothing behind: what outlives its measurement holds the GPU that the next one needs."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import IO


def exit_on_sigterm() -> None:
    """Makes SIGTERM run `finally` blocks, which end the children."""
    signal.signal(signal.SIGTERM, _exit)


def _exit(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)


@contextmanager
def running(
    command: list[str],
    *,
    stop_seconds: float,
    output: IO[bytes] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a process group of its own, ended with the block: by SIGTERM, after `stop_seconds` by force."""
    process = subprocess.Popen(command, stdout=output, stderr=output, env=environment, start_new_session=True)
    try:
        yield process
    finally:
        stop_group(process, stop_seconds)


def stop_group(process: subprocess.Popen[bytes], stop_seconds: float) -> None:
    """Ends the leader first, as an operator would, then the group by force, for a child may outlive its parent."""
    process.terminate()
    try:
        process.wait(stop_seconds)
    except subprocess.TimeoutExpired:
        print(f"{process.args!r} did not end {stop_seconds:g} s after SIGTERM: killed", file=sys.stderr)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
