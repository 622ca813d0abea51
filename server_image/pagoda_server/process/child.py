"""A process of the server: it ends with the one that started it, and its end has a reason.

What a child cannot go on for it writes into memory that both have open, one line: the log holds other lines after it,
and a pod's status shows the last one.
"""

import asyncio
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO

from pagoda_guard.flags import build_arguments
from pagoda_guard.memory_file import open_memory
from pagoda_server.settings import ChildSettings

MAX_REASON_BYTES = 2048


def write_reason(descriptor: int, reason: str) -> None:
    """Writes why this process, a child, is about to end."""
    with suppress(OSError):
        os.pwrite(descriptor, reason.encode(errors="replace")[:MAX_REASON_BYTES], 0)


def describe_end(name: str, code: int, reason: str) -> str:
    """Returns why the process ended. `reason` is what it said itself.

    It cannot say anything of signal 9, which the kernel sends in most cases.
    """
    if code < 0:
        kind = "out of memory?" if -code == signal.SIGKILL else signal.strsignal(-code)
        return f"{name} ended by signal {-code} ({kind})"
    return f"{name} ended with exit code {code}{': ' if reason else ''}{reason}"


@dataclass(frozen=True, slots=True)
class End:
    """Why a process ended, in words, and its exit code (below 0 it is a signal)."""

    reason: str
    code: int


class Child:
    def __init__(self, name: str, process: asyncio.subprocess.Process, reason: BinaryIO) -> None:
        self.killed_for: str | None = None
        self._name = name
        self._process = process
        self._reason = reason

    @classmethod
    async def start(
        cls, name: str, command: Sequence[str], *, pass_fds: Sequence[int] = (), start_new_session: bool = False
    ) -> "Child":
        """Starts the command as a child of this process. Raises OSError.

        NB: call it from the thread that lives as long as this process, see `end_with_parent`.
        """
        reason = open_memory("reason")
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                *build_arguments(ChildSettings(parent_pid=os.getpid(), reason_fd=reason.fileno())),
                pass_fds=[*pass_fds, reason.fileno()],
                start_new_session=start_new_session,
            )
        except BaseException:
            reason.close()
            raise
        return cls(name, process, reason)

    async def wait(self) -> End:
        """Waits for the child's end and returns why it ended."""
        code = await self._process.wait()
        with self._reason as file:
            said = os.pread(file.fileno(), MAX_REASON_BYTES, 0).decode(errors="replace")
        if self.killed_for is not None:
            return End(f"{self._name} {self.killed_for} and was killed", code)
        return End(describe_end(self._name, code, " ".join(said.split())), code)

    def signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            self._process.send_signal(number)

    def kill(self, because: str) -> None:
        """Ends the child at once, also one that is stopped; `because` is then the reason."""
        self.killed_for = because
        self.signal(signal.SIGKILL)
