"""The server's life: an engine and its fronts until a signal (streams are finished, exit 0) or a failure (exit 1).

The engine's end is the server's. A front that served for a while and then ended has lost only its own streams, and
starting the engine anew takes minutes, so that front is started anew; one that ends at once would go on doing so.
"""

import asyncio
import logging
import os
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress

from pagoda_server.settings import Settings
from pagoda_server.tally import count_bytes

log = logging.getLogger(__name__)
STOP_SECONDS = 10.0
SETTLED_SECONDS = 10.0
SOCKET_MODE = 0o660
BuildFront = Callable[[int, int, int], Sequence[str]]
"""The command of a front: its number, the descriptors of the listening socket and of the tally."""


class Fronts:
    def __init__(self, build_command: BuildFront, listening: int, tally: int, settled_seconds: float) -> None:
        self._build_command = build_command
        self._descriptors = (listening, tally)
        self._settled_seconds = settled_seconds
        self._running: dict[int, asyncio.subprocess.Process] = {}
        self._stopping = False
        self._kept: list[asyncio.Task[None]] = []

    def start(self, count: int) -> list[asyncio.Task[None]]:
        """A task for each front; it ends when the front is not to be started anew."""
        self._kept = [asyncio.create_task(self._keep(number)) for number in range(count)]
        return self._kept

    async def stop(self, limit_seconds: float | None) -> None:
        """Each finishes its streams first; by force after the limit, if there is one."""
        self._stopping = True
        self._signal_all(signal.SIGTERM)
        await asyncio.wait(self._kept, timeout=limit_seconds)
        self._signal_all(signal.SIGKILL)
        await asyncio.wait(self._kept)

    async def _keep(self, number: int) -> None:
        while not self._stopping:
            began = time.monotonic()
            code = await self._run(number)
            if self._stopping or time.monotonic() - began < self._settled_seconds:
                return
            log.error("front ended and is started anew: number=%d code=%d", number, code)

    async def _run(self, number: int) -> int:
        command = self._build_command(number, *self._descriptors)
        process = await asyncio.create_subprocess_exec(*command, pass_fds=self._descriptors)
        self._running[number] = process
        if self._stopping:
            _signal(process, signal.SIGTERM)
        code = await process.wait()
        del self._running[number]
        return code

    def _signal_all(self, number: signal.Signals) -> None:
        for process in self._running.values():
            _signal(process, number)


async def serve(
    settings: Settings,
    engine_command: Sequence[str],
    build_front: BuildFront,
    *,
    settled_seconds: float = SETTLED_SECONDS,
) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    settings.engine.socket.unlink(missing_ok=True)
    with ExitStack() as stack:
        listening = stack.enter_context(bind_socket(settings))
        tally = stack.enter_context(tempfile.TemporaryFile())
        os.ftruncate(tally.fileno(), count_bytes(settings.workers))
        engine = await asyncio.create_subprocess_exec(*engine_command, start_new_session=True)
        fronts = Fronts(build_front, listening.fileno(), tally.fileno(), settled_seconds)
        watched = [asyncio.create_task(stop.wait()), asyncio.create_task(engine.wait())]
        try:
            done, _ = await asyncio.wait(
                [*watched, *fronts.start(settings.workers)], return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                task.result()
            # NB: says nothing: who ended said why in its last line, and the pod's status shows the last line
            return 0 if stop.is_set() else 1
        finally:
            listening.close()  # NB: else the kernel would go on queueing what no front will take
            await fronts.stop(None if stop.is_set() else STOP_SECONDS)
            await _stop_engine(engine)
            await _cancel(watched)


def bind_socket(settings: Settings) -> socket.socket:
    """Bound and not yet listening: until a front can accept, clients are refused and do not wait."""
    if settings.socket is None:
        return _bind_port(settings.host, settings.port)
    settings.socket.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(str(settings.socket))
    settings.socket.chmod(SOCKET_MODE)  # the sidecar has another uid in the same group
    return listening


def _bind_port(host: str, port: int) -> socket.socket:
    family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    listening = socket.socket(family, kind)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(address)
    return listening


async def _stop_engine(engine: asyncio.subprocess.Process) -> None:
    _signal(engine, signal.SIGTERM)
    try:
        await asyncio.wait_for(engine.wait(), STOP_SECONDS)
    except TimeoutError:
        _signal(engine, signal.SIGKILL)
        await engine.wait()


async def _cancel(tasks: Sequence[asyncio.Task[object]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        process.send_signal(number)
