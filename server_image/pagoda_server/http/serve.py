"""The server's life: engine and front up until a signal (finish the streams, exit 0) or the engine's end (exit 1)."""

import asyncio
import os
import signal
from collections.abc import Sequence

from aiohttp import web

from pagoda_server.engine_client import EngineClient
from pagoda_server.http.app import Server
from pagoda_server.settings import Settings
from pagoda_server.text.tokenizer import read_tokenizer

POLL_SECONDS = 0.1
ENGINE_STOP_SECONDS = 10.0
SOCKET_MODE = 0o660


async def serve(settings: Settings, engine_command: Sequence[str]) -> int:
    server = Server(settings, await asyncio.to_thread(read_tokenizer, settings.engine.model))
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    settings.engine.socket.unlink(missing_ok=True)
    child = await asyncio.create_subprocess_exec(*engine_command, start_new_session=True)
    runner = web.AppRunner(server.build_app(), handler_cancellation=True, access_log=None)
    try:
        await runner.setup()
        site = await _listen(runner, settings)
        ended = await _run_until_end(server, child, stop)
        server.draining = True
        await site.stop()
        while server.in_flight and not ended:
            await asyncio.sleep(POLL_SECONDS)
        return 1 if ended else 0
    finally:
        await runner.cleanup()
        if server.engine is not None:
            await server.engine.close()
        await _stop_engine(child)


async def _listen(runner: web.AppRunner, settings: Settings) -> web.BaseSite:
    if settings.socket is None:
        site: web.BaseSite = web.TCPSite(runner, settings.host, settings.port)
        await site.start()
    else:
        site = web.UnixSite(runner, settings.socket)
        await site.start()
        os.chmod(settings.socket, SOCKET_MODE)  # the sidecar has another uid in the same group
    return site


async def _run_until_end(server: Server, child: asyncio.subprocess.Process, stop: asyncio.Event) -> bool:
    """True when the engine ended by itself."""
    stopped, engine = asyncio.create_task(stop.wait()), asyncio.create_task(_follow_engine(server, child))
    await asyncio.wait({stopped, engine}, return_when=asyncio.FIRST_COMPLETED)
    ended = not stopped.done()
    for task in (stopped, engine):
        task.cancel()
    await asyncio.gather(stopped, engine, return_exceptions=True)
    return ended  # NB: says nothing: the engine's own last line is the reason, and the pod's status shows the last line


async def _follow_engine(server: Server, child: asyncio.subprocess.Process) -> None:
    while child.returncode is None and server.engine is None:
        try:
            server.engine = await EngineClient.connect(server.settings.engine.socket)
        except (OSError, asyncio.IncompleteReadError):
            await asyncio.sleep(POLL_SECONDS)
    if server.engine is None:
        return
    gone, exited = asyncio.create_task(server.engine.wait_gone()), asyncio.create_task(child.wait())
    await asyncio.wait({gone, exited}, return_when=asyncio.FIRST_COMPLETED)


async def _stop_engine(child: asyncio.subprocess.Process) -> None:
    if child.returncode is not None:
        return
    child.terminate()
    try:
        await asyncio.wait_for(child.wait(), ENGINE_STOP_SECONDS)
    except TimeoutError:
        child.kill()
        await child.wait()
