"""One front's life: it answers HTTP until a signal (finish the streams, exit 0) or the engine's end (exit 1)."""

import asyncio
import contextlib
import signal
import socket

from pagoda_server.engine_client import EngineClient
from pagoda_server.http.app import Server
from pagoda_server.http.listener import Listener
from pagoda_server.http.runner import build_runner
from pagoda_server.settings import Settings
from pagoda_server.tally import Tally
from pagoda_server.text.tokenizer import read_tokenizer

POLL_SECONDS = 0.1


async def run_front(settings: Settings, listening: socket.socket, tally: Tally) -> int:
    server = Server(settings, await asyncio.to_thread(read_tokenizer, settings.engine.model), tally)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    runner = build_runner(server.build_app())
    try:
        await runner.setup()
        assert runner.server is not None
        await _connect(server)  # NB: before it accepts: a front started anew takes nothing it could only refuse
        listener = Listener(listening, runner.server, tally)
        listener.start()
        ended = await _run_until_end(server, stop)
        server.draining = True
        listener.close()
        while server.in_flight and not ended:
            await asyncio.sleep(POLL_SECONDS)
        return 1 if ended else 0
    finally:
        await runner.cleanup()
        if server.engine is not None:
            await server.engine.close()


async def _run_until_end(server: Server, stop: asyncio.Event) -> bool:
    """True when the engine ended by itself."""
    stopped, engine = asyncio.create_task(stop.wait()), asyncio.create_task(_follow_engine(server))
    await asyncio.wait({stopped, engine}, return_when=asyncio.FIRST_COMPLETED)
    ended = not stopped.done()
    for task in (stopped, engine):
        task.cancel()
    await asyncio.gather(stopped, engine, return_exceptions=True)
    return ended


async def _follow_engine(server: Server) -> None:
    while server.engine is None:
        await asyncio.sleep(POLL_SECONDS)
        await _connect(server)
    await server.engine.wait_gone()


async def _connect(server: Server) -> None:
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        server.engine = await EngineClient.connect(server.settings.engine.socket)
        server.tally.set_engine()
