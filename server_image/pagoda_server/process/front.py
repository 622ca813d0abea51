"""One front's life: it answers HTTP until a signal (finish the streams, exit 0) or the engine's end (exit 1)."""

import asyncio
import contextlib
import mmap
import signal
import socket

import uvloop
from aiohttp import web
from aiohttp.typedefs import Handler

from pagoda_guard.tasks import Tasks
from pagoda_server.http.app import Server
from pagoda_server.http.engine_client import EngineClient, EngineGone
from pagoda_server.http.runner import build_runner
from pagoda_server.http.tally import Tally
from pagoda_server.process.listener import Listener
from pagoda_server.settings import FrontSettings, Settings
from pagoda_server.text.tokenizer import read_tokenizer
from pagoda_server.wire import Stats

POLL_SECONDS = 0.1
BEAT_SECONDS = 0.5
CONNECT_SECONDS = 5.0
"""For the engine's first word. One that is stopped accepts all the same, for the kernel does."""


def run_front_alone(settings: Settings, front: FrontSettings) -> int:
    """Returns the exit code of this process, which is the front alone."""
    tally = Tally(mmap.mmap(front.tally_fd, 0), front.number)
    code: int = uvloop.run(run_front(settings, socket.socket(fileno=front.listening_fd), tally))
    return code


async def run_front(settings: Settings, listening: socket.socket, tally: Tally) -> int:
    """Raises `EngineGone` when the engine ended by itself."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    front = Front(tally)
    try:
        await front.serve(settings, listening, stop)
    finally:
        await front.close()
    return 0


class Front:
    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._server: Server | None = None
        self._tasks = Tasks()
        self._tasks.watch("beat", self._beat())

    async def serve(self, settings: Settings, listening: socket.socket, stop: asyncio.Event) -> None:
        self._server = server = Server(
            settings, await asyncio.to_thread(read_tokenizer, settings.engine.model), self._tally
        )
        runner = build_runner(self._build_app(server))
        try:
            await runner.setup()
            assert runner.server is not None
            await _connect(server)  # NB: before it accepts: a front started anew takes nothing it could only refuse
            self._listener = Listener(listening, runner.server, self._tally)
            self._listener.start()
            await self._run_until_end(server, stop)
            server.draining = True
            self._listener.close()
            while server.in_flight:
                await asyncio.sleep(POLL_SECONDS)
        finally:
            await runner.cleanup()

    async def close(self) -> None:
        await self._tasks.stop()
        if self._server is not None and self._server.engine is not None:
            await self._server.engine.close()

    def _build_app(self, server: Server) -> web.Application:
        @web.middleware
        async def note_request(request: web.Request, handler: Handler) -> web.StreamResponse:
            self._listener.note_request(request.protocol)
            return await handler(request)

        app = server.build_app()
        app.middlewares.insert(0, note_request)
        return app

    async def _run_until_end(self, server: Server, stop: asyncio.Event) -> None:
        """Returns when told to stop. Raises `EngineGone`, or `TaskEnded` when a part of this front ended."""
        stopped = self._tasks.spawn("stop", stop.wait())
        gone = self._tasks.spawn("follow the engine", _follow_engine(server))
        failed = self._tasks.spawn("parts", self._tasks.wait_failed())
        await asyncio.wait({stopped, gone, failed}, return_when=asyncio.FIRST_COMPLETED)
        if failed.done():
            await failed
        if not stopped.done():
            await gone
            raise EngineGone("the engine closed its socket")

    async def _beat(self) -> None:
        """The supervisor kills who no longer does, and the engine that no front hears."""
        before: Stats | None = None
        while True:
            stats = self._server.stats if self._server is not None else None
            self._tally.beat(heard=stats is not before)
            before = stats
            await asyncio.sleep(BEAT_SECONDS)


async def _follow_engine(server: Server) -> None:
    while server.engine is None:
        await asyncio.sleep(POLL_SECONDS)
        await _connect(server)
    await server.engine.wait_gone()


async def _connect(server: Server) -> None:
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):  # a TimeoutError is an OSError
        async with asyncio.timeout(CONNECT_SECONDS):
            server.engine = await EngineClient.connect(server.settings.engine.socket)
        server.tally.set_engine()
