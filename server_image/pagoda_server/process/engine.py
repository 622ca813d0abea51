"""The engine: the process that makes the tokens. A unix socket speaks `wire.py`, around one thread that steps.

A connection hears Hello, then Stats twice per second, and after each step the deltas of its own requests in one frame.
When it closes, its requests are aborted. The socket's thread takes turns with the one that steps, so what it does for
each token delays the next step.
"""

import asyncio
import contextlib
import gc
import itertools
import logging
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from pagoda_guard.tasks import TaskEnded, Tasks
from pagoda_server.engine.compiling import judge
from pagoda_server.engine.config import EngineConfig
from pagoda_server.engine.loop import Disconnect, EngineLoop
from pagoda_server.process.request_names import add_prefix, build_prefix, split_prefix
from pagoda_server.start.build import BuiltEngine, build_engine
from pagoda_server.start.phases import Phases, read_process_age_seconds
from pagoda_server.wire import (
    MAX_FRAME_BYTES,
    Abort,
    Delta,
    Deltas,
    FromEngine,
    Hello,
    Judge,
    Rejected,
    Submit,
    Timing,
    ToEngine,
    decode_to_engine,
    encode_frame,
    read_frame,
)

log = logging.getLogger(__name__)
STATS_SECONDS = 0.5
BACKLOG = 128
"""Far above the fronts of a server, its only clients."""


class EngineFailed(Exception):
    """A part of the engine ended, by an error or not; the process should end and be started anew."""


def run_engine(config: EngineConfig) -> None:
    """Serves until cancelled or interrupted. Raises `EngineFailed` when the engine cannot continue."""
    phases = Phases(begun_seconds_ago=read_process_age_seconds())
    gc.freeze()  # collections, of which each graph's capture needs one, need not go through all that was imported
    asyncio.run(serve_engine(config, phases=phases))


async def serve_engine(
    config: EngineConfig, *, on_ready: Callable[[], None] = lambda: None, phases: Phases | None = None
) -> None:
    """Builds the engine, listens at `config.socket` and serves until cancelled."""
    built = await asyncio.to_thread(build_engine, config, phases)
    try:
        await EngineServer(built).serve(config.socket, on_ready=on_ready)
    finally:
        await asyncio.to_thread(built.close)


def listen_at(path: Path) -> socket.socket:
    """Returns a socket that listens at `path`, for this user alone.

    It gets its name last: who waits until the name is there may connect at once.
    """
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with contextlib.ExitStack() as close_when_refused:
        close_when_refused.callback(listening.close)
        unnamed = path.with_suffix(".new")
        for left_by_a_killed_engine in (path, unnamed):
            left_by_a_killed_engine.unlink(missing_ok=True)
        listening.bind(str(unnamed))
        unnamed.chmod(0o600)
        listening.listen(BACKLOG)
        unnamed.replace(path)
        close_when_refused.pop_all()
    return listening


class EngineServer:
    def __init__(self, built: BuiltEngine) -> None:
        self._hello: Hello = built.hello
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self._writers: dict[str, asyncio.StreamWriter] = {}
        self._tasks = Tasks()
        self._is_short = False
        self._numbers = itertools.count(1)
        self._compiler = built.compiler
        self._engine = EngineLoop(
            built.engine, self._deliver_from_thread, self._end_from_thread, compiler=built.compiler
        )

    async def serve(self, path: Path, *, on_ready: Callable[[], None]) -> None:
        self._loop.set_exception_handler(self._report)
        server = await asyncio.start_unix_server(self._accept, sock=listen_at(path))
        self._engine.start()
        self._tasks.watch("the engine's thread", self._wait_for_thread())
        self._tasks.watch("the engine's stats", self._send_stats())
        try:
            on_ready()
            await self._tasks.wait_failed()
        except TaskEnded as error:
            raise EngineFailed(str(error)) from error
        finally:
            server.close()
            for writer in list(self._writers.values()):
                writer.close()
            await self._tasks.stop()
            await asyncio.to_thread(self._engine.stop)
            path.unlink(missing_ok=True)

    async def _wait_for_thread(self) -> None:
        await self._ended.wait()
        if self._engine.failure is not None:
            raise self._engine.failure

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._is_short = False
        self._tasks.spawn("connection", self._serve_connection(reader, writer))

    def _report(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Logs what asyncio reports.

        NB: out of file descriptors, asyncio tries again each second, and would say so at length each time.
        """
        if not str(context.get("message")).startswith("socket.accept() out of system resource"):
            loop.default_exception_handler(context)
        elif not self._is_short:
            self._is_short = True
            log.warning("connections cannot be accepted error=%s", context.get("exception"))

    async def _serve_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        name = str(next(self._numbers))
        self._writers[name] = writer
        try:
            self._send(name, self._hello)
            self._send(name, self._engine.stats)
            while True:
                self._receive(name, decode_to_engine(await read_frame(reader)))
        except (asyncio.IncompleteReadError, ConnectionError):
            log.info("connection closed connection=%s", name)
        except (ValueError, msgspec.MsgspecError) as error:
            log.warning("connection dropped for a bad frame connection=%s error=%s", name, error)
        finally:
            del self._writers[name]
            self._engine.send(Disconnect(build_prefix(name)))
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    def _receive(self, name: str, message: ToEngine) -> None:
        match message:
            case Submit(request_id=request_id, group=group):
                renamed = {"request_id": add_prefix(name, request_id), "group": add_prefix(name, group or request_id)}
                self._engine.send(msgspec.structs.replace(message, **renamed))
            case Abort(request_id=request_id):
                self._engine.send(Abort(add_prefix(name, request_id)))
            case Judge():
                judge(self._compiler, message, lambda judged: self._loop.call_soon_threadsafe(self._send, name, judged))

    def _deliver_from_thread(self, messages: Sequence[Delta | Rejected | Timing]) -> None:
        if messages:
            self._loop.call_soon_threadsafe(self._deliver, messages)

    def _end_from_thread(self) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)

    def _deliver(self, messages: Sequence[Delta | Rejected | Timing]) -> None:
        of_connection: dict[str, list[Delta]] = {}
        for message in messages:
            name, request_id = split_prefix(message.request_id)
            if not isinstance(message, Delta):
                self._send(name, msgspec.structs.replace(message, request_id=request_id))
                continue
            own = Delta(
                request_id,
                message.token_ids,
                message.logprobs,
                message.finish_reason,
                message.cached_tokens,
                message.prompt_logprobs,
            )
            of_connection.setdefault(name, []).append(own)
        for name, deltas in of_connection.items():
            self._send(name, Deltas(deltas))

    def _send(self, name: str, message: FromEngine) -> None:
        """Sends the message, or drops a reader that is behind by a whole frame limit: the engine never waits for it."""
        writer = self._writers.get(name)
        if writer is None or writer.is_closing():
            return
        if writer.transport.get_write_buffer_size() > MAX_FRAME_BYTES:
            log.warning("connection dropped for not reading connection=%s", name)
            writer.transport.abort()
            return
        writer.write(encode_frame(message))

    async def _send_stats(self) -> None:
        while True:
            await asyncio.sleep(STATS_SECONDS)
            for name in list(self._writers):
                self._send(name, self._engine.stats)
