"""The supervisor: the process that starts the engine and the fronts, and ends with them.

A signal ends it once all streams are finished (exit 0), a failure at once (exit 1, or REFUSED where the child's was
that). The engine's end is the server's, and what says nothing for too long is ended. Why is the last line of all, for a
pod's status shows the last line.
"""

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import ExitStack

from pagoda_guard.tasks import Tasks
from pagoda_guard.termination import REFUSED
from pagoda_server.process.child import Child, End
from pagoda_server.process.fronts import BuildFront, Fronts, plan_workers
from pagoda_server.process.silence import LOOK_SECONDS, Silence
from pagoda_server.settings import Settings

log = logging.getLogger(__name__)
STOP_SECONDS = 10.0
SETTLED_SECONDS = 10.0
ENGINE_TOO_SECONDS = 1.0
"""A front that loses its engine may be seen to end first."""
SOCKET_MODE = 0o660


async def serve(
    settings: Settings,
    engine_command: Sequence[str],
    build_front: BuildFront,
    *,
    settled_seconds: float = SETTLED_SECONDS,
) -> int:
    """Runs the server until a signal or a failure, whose reason it prints. Returns the exit code."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    end = await _run(settings, engine_command, build_front, stop, settled_seconds)
    if end is None:
        return 0
    print(end.reason, file=sys.stderr, flush=True)
    return REFUSED if end.code == REFUSED else 1


async def _run(
    settings: Settings, engine_command: Sequence[str], build_front: BuildFront, stop: asyncio.Event, settled: float
) -> End | None:
    """Returns why the server ended, or None when it was told to."""
    settings.engine.socket.unlink(missing_ok=True)
    tasks = Tasks()
    with ExitStack() as stack:
        listening = stack.enter_context(bind_socket(settings))
        engine = await Child.start("engine", engine_command, start_new_session=True)
        workers = settings.workers or plan_workers(settings.engine.device, os.cpu_count() or 1)
        fronts = Fronts(build_front, listening.fileno(), workers, settled)
        stopped = tasks.spawn("stop", stop.wait())
        ended = [tasks.spawn("engine", engine.wait()), *fronts.start(tasks)]
        tasks.keep("silence", lambda: end_the_silent(engine, fronts, settings.stale_seconds))
        try:
            await asyncio.wait([stopped, *ended], return_when=asyncio.FIRST_COMPLETED)
            return None if stop.is_set() else await _find_end(ended)
        finally:
            listening.close()  # NB: else the kernel would go on queueing what no front will take
            await fronts.stop(None if stop.is_set() else STOP_SECONDS)
            await _stop_engine(engine, ended[0])
            await tasks.stop()


async def end_the_silent(engine: Child, fronts: Fronts, stale_seconds: float) -> None:
    """Kills a process that is stopped or whose loop hangs: it is never heard again.

    What it was asked fails when it ends.
    """
    silence, because = Silence(stale_seconds), f"said nothing for {stale_seconds:g} s"
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        silent = silence.look(fronts.read_signs())
        for number in silent.fronts:
            log.error("front is silent and is killed number=%d seconds=%g", number, stale_seconds)
            fronts.kill(number, because)
        if silent.engine:
            log.critical("engine is silent and is killed seconds=%g", stale_seconds)
            engine.kill(because)


async def _find_end(ended: Sequence[asyncio.Task[End]]) -> End:
    """Returns the engine's end, which was the first, when the engine ended too."""
    await asyncio.wait(ended[:1], timeout=ENGINE_TOO_SECONDS)
    return next(task.result() for task in ended if task.done())


def bind_socket(settings: Settings) -> socket.socket:
    """Returns a socket that is bound and does not yet listen: until a front can accept, clients are refused at once."""
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


async def _stop_engine(engine: Child, ended: asyncio.Task[End]) -> None:
    engine.signal(signal.SIGTERM)
    await asyncio.wait([ended], timeout=STOP_SECONDS)
    engine.signal(signal.SIGKILL)
    await asyncio.wait([ended])
