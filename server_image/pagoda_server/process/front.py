"""A front: a process that answers HTTP, until a signal (it finishes its streams, exit 0) or the engine's end (exit 1).

It tokenises and writes the answers; the engine, a process beside it, makes the tokens.
"""

import asyncio
import contextlib
import logging
import mmap
import signal
import socket
from typing import TYPE_CHECKING

import uvloop
from aiohttp import web
from aiohttp.typedefs import Handler

from pagoda_guard.tasks import Tasks
from pagoda_server.http.app import HttpApi
from pagoda_server.http.engine_client import EngineClient, EngineGone
from pagoda_server.http.runner import build_runner
from pagoda_server.http.tally import Tally
from pagoda_server.process.listener import Listener
from pagoda_server.settings import FrontSettings, Settings
from pagoda_server.text.tokenizer import read_tokenizer
from pagoda_server.wire import Stats

if TYPE_CHECKING:
    from pagoda_server.http.tracing import Tracer

log = logging.getLogger(__name__)
POLL_SECONDS = 0.1
BEAT_SECONDS = 0.5
CONNECT_SECONDS = 5.0
"""The longest wait for the engine's first word. One that is stopped accepts all the same, for the kernel does."""


def run_front_alone(settings: Settings, front: FrontSettings) -> int:
    """Returns the exit code of this process, which is the front alone."""
    tally = Tally(mmap.mmap(front.tally_fd, 0), front.number)
    code: int = uvloop.run(run_front(settings, socket.socket(fileno=front.listening_fd), tally))
    return code


async def run_front(settings: Settings, listening: socket.socket, tally: Tally) -> int:
    """Serves until a signal and returns the exit code. Raises `EngineGone` when the engine ended by itself."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    front = Front(tally, open_tracer(settings, tally))
    try:
        await front.serve(settings, listening, stop)
    finally:
        await front.close()
    return 0


def open_tracer(settings: Settings, tally: Tally) -> "Tracer | None":
    """Returns what traces this front's requests, None where traces have nowhere to go."""
    if not settings.tracing_endpoint:
        return None
    from pagoda_server.http.tracing import Tracer  # NB: OpenTelemetry costs memory and a second of the start

    return Tracer.open(settings, tally.number, tally.count_spans)


class Front:
    def __init__(self, tally: Tally, tracer: "Tracer | None" = None) -> None:
        self._tally = tally
        self._tracer = tracer
        self._api: HttpApi | None = None
        self._tasks = Tasks()
        self._tasks.watch("beat", self._beat())

    async def serve(self, settings: Settings, listening: socket.socket, stop: asyncio.Event) -> None:
        self._api = api = HttpApi(settings, await asyncio.to_thread(read_tokenizer, settings.engine.model), self._tally)
        if self._tally.number == 0:
            log.info("notations chosen %s", api.conversations.describe())
        api.begin_trace = None if self._tracer is None else self._tracer.begin
        runner = build_runner(self._build_app(api))
        try:
            await runner.setup()
            assert runner.server is not None
            await _connect(api)  # NB: before it accepts: a front started anew takes nothing it could only refuse
            self._listener = Listener(listening, runner.server, self._tally)
            self._listener.start()
            await self._run_until_end(api, stop)
            api.draining = True
            self._listener.close()
            while api.in_flight:
                await asyncio.sleep(POLL_SECONDS)
        finally:
            await runner.cleanup()

    async def close(self) -> None:
        await self._tasks.stop()
        if self._api is not None and self._api.engine is not None:
            await self._api.engine.close()
        if self._tracer is not None:
            await asyncio.to_thread(self._tracer.close)

    def _build_app(self, api: HttpApi) -> web.Application:
        @web.middleware
        async def note_request(request: web.Request, handler: Handler) -> web.StreamResponse:
            self._listener.note_request(request.protocol)
            return await handler(request)

        app = api.build_app()
        app.middlewares.insert(0, note_request)
        return app

    async def _run_until_end(self, api: HttpApi, stop: asyncio.Event) -> None:
        """Returns when told to stop. Raises `EngineGone`, or `TaskEnded` when a part of this front ended."""
        stopped = self._tasks.spawn("stop", stop.wait())
        gone = self._tasks.spawn("follow the engine", _follow_engine(api))
        failed = self._tasks.spawn("parts", self._tasks.wait_failed())
        await asyncio.wait({stopped, gone, failed}, return_when=asyncio.FIRST_COMPLETED)
        if failed.done():
            await failed
        if not stopped.done():
            await gone
            raise EngineGone("the engine closed its socket")

    async def _beat(self) -> None:
        """Tells the supervisor that this front's loop turns: it kills a front that no longer says so.

        It also kills an engine that no front hears.
        """
        before: Stats | None = None
        while True:
            stats = self._api.stats if self._api is not None else None
            self._tally.beat(heard=stats is not before)
            before = stats
            await asyncio.sleep(BEAT_SECONDS)


async def _follow_engine(api: HttpApi) -> None:
    while api.engine is None:
        await asyncio.sleep(POLL_SECONDS)
        await _connect(api)
    await api.engine.wait_gone()


async def _connect(api: HttpApi) -> None:
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):  # a TimeoutError is an OSError
        async with asyncio.timeout(CONNECT_SECONDS):
            api.engine = await EngineClient.connect(api.settings.engine.socket)
        api.tally.set_engine()
