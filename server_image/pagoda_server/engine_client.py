"""The HTTP front's end of the engine's socket: submits requests, routes deltas back, aborts what nobody waits for.

It never reconnects: an engine that went away has lost its requests, so the server exits and its pod restarts.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from types import TracebackType

from pagoda_server.wire import (
    MAX_FRAME_BYTES,
    Abort,
    Delta,
    FromEngine,
    Hello,
    Rejected,
    Stats,
    Submit,
    ToEngine,
    decode_from_engine,
    encode_frame,
)


class EngineGone(Exception):
    """The engine closed its socket; nothing submitted to it will be answered."""


class RequestRejected(Exception):
    def __init__(self, message: str, param: str | None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param


async def read_frame(reader: asyncio.StreamReader) -> bytes:
    size = int.from_bytes(await reader.readexactly(4), "big")
    if size > MAX_FRAME_BYTES:
        raise EngineGone(f"the engine announced a frame of {size} bytes, above {MAX_FRAME_BYTES}")
    return await reader.readexactly(size)


class Generation:
    """The deltas of some requests as they come. Leaving the `async with` aborts those that are not finished."""

    def __init__(self, client: "EngineClient", submits: Sequence[Submit]) -> None:
        self._client = client
        self._submits = submits
        self._queue: asyncio.Queue[Delta | Rejected | None] = asyncio.Queue()
        self._open = {submit.request_id for submit in submits}

    async def __aenter__(self) -> "Generation":
        for submit in self._submits:
            self._client.start(submit, self._queue)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for request_id in tuple(self._open):
            self.abort(request_id)

    def abort(self, request_id: str) -> None:
        if request_id in self._open:
            self._open.discard(request_id)
            self._client.abort(request_id)

    async def __aiter__(self) -> AsyncIterator[Delta]:
        while self._open:
            message = await self._queue.get()
            if message is None:
                raise EngineGone("the engine stopped")
            if message.request_id not in self._open:
                continue
            if isinstance(message, Rejected):
                self._open.discard(message.request_id)
                raise RequestRejected(message.message, message.param)
            if message.finish_reason is not None:
                self._open.discard(message.request_id)
            yield message


class EngineClient:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, hello: Hello) -> None:
        self.hello = hello
        self.stats: Stats | None = None
        self._stats_at = time.monotonic()
        self._reader = reader
        self._writer = writer
        self._queues: dict[str, asyncio.Queue[Delta | Rejected | None]] = {}
        self._gone = False
        self._task = asyncio.create_task(self._read())

    @classmethod
    async def connect(cls, path: Path) -> "EngineClient":
        reader, writer = await asyncio.open_unix_connection(str(path))
        try:
            hello = decode_from_engine(await read_frame(reader))
            if not isinstance(hello, Hello):
                raise EngineGone(f"the engine's first message is {type(hello).__name__}, not Hello")
        except BaseException:
            writer.close()
            raise
        return cls(reader, writer, hello)

    @property
    def alive(self) -> bool:
        return not self._gone

    @property
    def stats_age_seconds(self) -> float:
        """Since the last Stats, or since the connection when there was none."""
        return time.monotonic() - self._stats_at

    def generate(self, submits: Sequence[Submit]) -> Generation:
        return Generation(self, submits)

    def start(self, submit: Submit, queue: asyncio.Queue[Delta | Rejected | None]) -> None:
        self._queues[submit.request_id] = queue
        if self._gone:
            queue.put_nowait(None)
        self._send(submit)

    def abort(self, request_id: str) -> None:
        if self._queues.pop(request_id, None) is not None:
            self._send(Abort(request_id))

    async def wait_gone(self) -> None:
        """Returns when the engine has closed its end."""
        await asyncio.wait([self._task])

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    def _send(self, message: ToEngine) -> None:
        if not self._gone:
            self._writer.write(encode_frame(message))

    async def _read(self) -> None:
        try:
            while True:
                self._route(decode_from_engine(await read_frame(self._reader)))
        except (asyncio.IncompleteReadError, OSError):
            return
        finally:
            self._gone = True
            for queue in self._queues.values():
                queue.put_nowait(None)

    def _route(self, message: FromEngine) -> None:
        match message:
            case Stats():
                self.stats, self._stats_at = message, time.monotonic()
            case Delta() | Rejected():
                queue = self._queues.get(message.request_id)
                if queue is None:
                    return
                if isinstance(message, Rejected) or message.finish_reason is not None:
                    del self._queues[message.request_id]
                queue.put_nowait(message)
            case Hello():
                raise EngineGone("the engine said Hello twice")
