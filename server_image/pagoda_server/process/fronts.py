"""The fronts of a server: a process each, started anew when it ends after it had served for a while.

Such a front has lost only its own streams, and starting the engine anew takes minutes. One that ends at once would go
on doing so, which ends the server.
"""

import asyncio
import logging
import mmap
import signal
import time
from collections.abc import Callable, Sequence

from pagoda_guard.memory_file import open_memory
from pagoda_guard.tasks import Tasks
from pagoda_server.http.tally import Signs, Tally, count_bytes
from pagoda_server.process.child import Child, End
from pagoda_server.settings import MAXIMUM_WORKERS

log = logging.getLogger(__name__)
BuildFront = Callable[[int, int, int], Sequence[str]]
"""The command of a front: its number, the descriptors of the listening socket and of the tally."""


def plan_workers(device: str, cores: int) -> int:
    """Returns how many fronts there are when nobody says.

    An engine on CPU makes fewer tokens than one front can write, and wants the cores and the memory itself.
    """
    return 1 if device == "cpu" else max(1, min(MAXIMUM_WORKERS, cores // 2))


class Fronts:
    def __init__(self, build_command: BuildFront, listening: int, count: int, settled_seconds: float) -> None:
        self._build_command = build_command
        self._memory = open_memory("tally", count_bytes(count))
        self._descriptors = (listening, self._memory.fileno())
        mapped = mmap.mmap(self._memory.fileno(), 0)
        self._tallies = [Tally(mapped, number) for number in range(count)]
        self._settled_seconds = settled_seconds
        self._running: dict[int, Child] = {}
        self._stopping = False
        self._kept: list[asyncio.Task[End]] = []

    def start(self, tasks: Tasks) -> list[asyncio.Task[End]]:
        """Returns a task for each front; it ends with the reason when the front is not to be started anew."""
        self._kept = [tasks.spawn(f"front {number}", self._keep(number)) for number in range(len(self._tallies))]
        return self._kept

    def read_signs(self) -> list[Signs]:
        return self._tallies[0].read_signs()

    def kill(self, number: int, because: str) -> None:
        if number in self._running:
            self._running[number].kill(because)

    async def stop(self, limit_seconds: float | None) -> None:
        """Lets each front finish its streams; ends it by force after the limit, if there is one."""
        self._stopping = True
        self._signal_all(signal.SIGTERM)
        await asyncio.wait(self._kept, timeout=limit_seconds)
        self._signal_all(signal.SIGKILL)
        await asyncio.wait(self._kept)
        self._memory.close()

    async def _keep(self, number: int) -> End:
        while True:
            began = time.monotonic()
            child = await self._start(number)
            end = await child.wait()
            del self._running[number]
            has_settled = time.monotonic() - began >= self._settled_seconds or child.killed_for is not None
            if self._stopping or not has_settled:
                return end
            log.error("front is started anew number=%d reason=%s", number, end.reason)

    async def _start(self, number: int) -> Child:
        self._tallies[number].forget_beats()
        command = self._build_command(number, *self._descriptors)
        child = await Child.start(f"front {number}", command, pass_fds=self._descriptors)
        self._running[number] = child
        if self._stopping:
            child.signal(signal.SIGTERM)
        return child

    def _signal_all(self, number: signal.Signals) -> None:
        for child in self._running.values():
            child.signal(number)
