"""A fork of the process that tries grammars, at work on one of them: how it is bounded, paced and heard."""

import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum

from pagoda_server.grammar.frames import LENGTH_BYTES, Trial, Verdict, decode_verdict

MAX_MEMORY_BYTES = 512 << 20
"""For a child, beyond what the process has that it is forked from."""
STDIN, STDOUT = 0, 1


class Pace(Enum):
    QUICK = "quick"
    """As far as is known."""
    SLOW = "slow"
    STOPPED = "stopped"
    """It waits for a slow one's end."""
    SEARCH = "search"
    """It looks for a fault's place, in a time of its own."""


@dataclass(slots=True, eq=False)
class Child:
    """It writes verdicts, of which the last counts, and closes its pipe."""

    trial: Trial
    pid: int
    pipe: int
    until: float
    """Seconds of the monotonic clock at which it must be looked after."""
    begun: float = field(default_factory=time.monotonic)
    pace: Pace = Pace.QUICK
    is_search: bool = False
    is_killed: bool = False
    verdict: Verdict | None = None
    _heard: bytearray = field(default_factory=bytearray)

    def hear(self) -> bool:
        """Takes what it wrote. Returns False at its end."""
        part = os.read(self.pipe, 1 << 20)
        self._heard += part
        while len(self._heard) >= LENGTH_BYTES:
            size = LENGTH_BYTES + int.from_bytes(self._heard[:LENGTH_BYTES], "big")
            if len(self._heard) < size:
                break
            self.verdict = decode_verdict.decode(bytes(self._heard[LENGTH_BYTES:size]))
            del self._heard[:size]
        return bool(part)

    def read_cpu_seconds(self) -> float:
        """Returns what it has taken, to a hundredth of a second; more than enough where the kernel does not say."""
        try:
            with open(f"/proc/{self.pid}/stat") as file:
                user, system = file.read().rpartition(")")[2].split()[11:13]
        except OSError:
            return float("inf")
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def turn_slow(self, until: float) -> None:
        if self.pace is Pace.STOPPED:
            os.kill(self.pid, signal.SIGCONT)
        self.pace, self.until = Pace.SLOW, until

    def stop(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)
        self.pace, self.until = Pace.STOPPED, float("inf")

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        self.is_killed, self.until = True, float("inf")

    def bury(self) -> None:
        os.close(self.pipe)
        os.waitpid(self.pid, 0)


def fork(trial: Trial, seconds: float, work: Callable[[], None], *, keep_out: Iterable[int]) -> Child:
    """Returns the child, which does the work and ends: its output goes to its pipe, and it has none of `keep_out`."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid:
        os.close(theirs)
        return Child(trial, pid, ours, time.monotonic() + seconds)
    try:  # NB: whatever happens, the child must not go on as if it were its parent
        os.dup2(theirs, STDOUT)
        for descriptor in (ours, theirs, *keep_out):
            os.close(descriptor)
        _bound_this_process()
        work()
    finally:
        os._exit(0)


def _bound_this_process() -> None:
    """NB: what overflows the stack says so on standard error, and leaves a core where one is taken."""
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, sys.stderr.fileno())
    os.dup2(nothing, STDIN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    with suppress(OSError, ValueError):  # not where the kernel is not Linux
        with open("/proc/self/statm") as file:
            size = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + MAX_MEMORY_BYTES, size + MAX_MEMORY_BYTES))
