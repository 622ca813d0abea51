"""The HTTP front's end of the engine's socket: submits requests, routes deltas back, aborts what nobody waits for.

It never reconnects: an engine that went away has lost its requests, so the server exits and its pod restarts.
"""

import asyncio
import contextlib
import itertools
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from pagoda_guard.tasks import Tasks
from pagoda_server.wire import (
    Abort,
    Delta,
    Deltas,
    FromEngine,
    Grammar,
    Hello,
    Judge,
    Judged,
    Rejected,
    Stats,
    Submit,
    Timing,
    ToEngine,
    decode_from_engine,
    encode_frame,
    read_frame,
)

log = logging.getLogger(__name__)


class EngineGone(Exception):
    """The engine closed its socket; nothing submitted to it will be answered."""


class RequestRejected(Exception):
    def __init__(self, message: str, param: str | None, reason: str = "invalid") -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.reason = reason


class Generation:
    """The deltas of some requests, all that wait at a time. Leaving the `async with` aborts what is not finished.

    While its reader is busy, what comes for a request is joined to one delta.
    """

    def __init__(self, client: "EngineClient", submits: Sequence[Submit]) -> None:
        self.timings: dict[str, Timing] = {}
        """What the engine said last of the requests that are traced."""
        self._client = client
        self._submits = submits
        self._open = {submit.request_id for submit in submits}
        self._waiting: dict[str, Delta] = {}
        self._failure: Exception | None = None
        self._wake: asyncio.Future[None] | None = None

    async def __aenter__(self) -> "Generation":
        for submit in self._submits:
            self._client.start(submit, self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for request_id in tuple(self._open):
            self.abort(request_id)

    def abort(self, request_id: str) -> None:
        if request_id in self._open:
            self._open.discard(request_id)
            self._waiting.pop(request_id, None)
            self._client.abort(request_id)

    def push(self, delta: Delta) -> None:
        before = self._waiting.get(delta.request_id)
        self._waiting[delta.request_id] = delta if before is None else join_deltas(before, delta)
        self._wake_reader()

    def reject(self, rejected: Rejected) -> None:
        self._open.discard(rejected.request_id)
        self.fail(RequestRejected(rejected.message, rejected.param, rejected.reason))

    def fail(self, failure: Exception) -> None:
        """Ends the generation: its reader raises the failure once it has read what came before."""
        self._failure = self._failure or failure
        self._wake_reader()

    @property
    def num_open(self) -> int:
        """Returns how many requests were neither finished nor aborted nor rejected."""
        return len(self._open)

    @property
    def finished(self) -> bool:
        """Returns True when nothing more will come."""
        return not self._open and self._failure is None

    async def next(self) -> list[Delta]:
        """Waits for news and returns all of it, one delta per request. Raises `RequestRejected` or `EngineGone`."""
        while not self._waiting:
            if self._failure is not None:
                raise self._failure
            self._wake = asyncio.get_running_loop().create_future()
            await self._wake
        deltas, self._waiting = list(self._waiting.values()), {}
        for delta in deltas:
            if delta.finish_reason is not None:
                self._open.discard(delta.request_id)
        return deltas

    def _wake_reader(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)


def join_deltas(first: Delta, second: Delta) -> Delta:
    scores = [*(first.logprobs or ()), *(second.logprobs or ())]
    prompt_scores = [*(first.prompt_logprobs or ()), *(second.prompt_logprobs or ())]
    return Delta(
        request_id=first.request_id,
        token_ids=first.token_ids + second.token_ids,
        logprobs=scores or None,
        finish_reason=second.finish_reason,
        cached_tokens=max(first.cached_tokens, second.cached_tokens),
        prompt_logprobs=prompt_scores or None,
    )


class EngineClient:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, hello: Hello) -> None:
        self.hello = hello
        self.stats: Stats | None = None
        self._stats_at = time.monotonic()
        self._reader = reader
        self._writer = writer
        self._generations: dict[str, Generation] = {}
        self._judged: dict[str, asyncio.Future[Rejected | None]] = {}
        self._numbers = itertools.count(1)
        self._gone = False
        self._task = Tasks().spawn("read from the engine", self._read())

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
        """Returns the time since the last Stats, or since the connection when there was none."""
        return time.monotonic() - self._stats_at

    def generate(self, submits: Sequence[Submit]) -> Generation:
        return Generation(self, submits)

    def start(self, submit: Submit, generation: Generation) -> None:
        self._generations[submit.request_id] = generation
        if self._gone:
            generation.fail(EngineGone("the engine stopped"))
        self._send(submit)

    def abort(self, request_id: str) -> None:
        if self._generations.pop(request_id, None) is not None:
            self._send(Abort(request_id))

    async def judge(self, grammar: Grammar) -> None:
        """Raises `RequestRejected` for a grammar that is not taken, `EngineGone` where nobody says."""
        number = str(next(self._numbers))
        self._judged[number] = future = asyncio.get_running_loop().create_future()
        try:
            if self._gone:
                raise EngineGone("the engine stopped")
            self._send(Judge(number, grammar))
            rejected = await future
        finally:
            del self._judged[number]
        if rejected is not None:
            raise RequestRejected(rejected.message, rejected.param, rejected.reason)

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
        except (ValueError, EngineGone) as error:
            log.error("what the engine sends cannot be read, so it is left error=%s", error)
        finally:
            self._gone = True
            for generation in self._generations.values():
                generation.fail(EngineGone("the engine stopped"))
            for future in self._judged.values():
                if not future.done():
                    future.set_exception(EngineGone("the engine stopped"))

    def _route(self, message: FromEngine) -> None:
        match message:
            case Stats():
                self.stats, self._stats_at = message, time.monotonic()
            case Deltas():
                self._route_deltas(message.deltas)
            case Rejected():
                generation = self._generations.pop(message.request_id, None)
                if generation is not None:
                    generation.reject(message)
            case Judged():
                future = self._judged.get(message.request_id)
                if future is not None and not future.done():
                    future.set_result(message.rejected)
            case Timing():
                if timed := self._generations.get(message.request_id):
                    timed.timings[message.request_id] = message
            case Hello():
                raise EngineGone("the engine said Hello twice")

    def _route_deltas(self, deltas: Sequence[Delta]) -> None:
        generations = self._generations
        for delta in deltas:
            generation = generations.get(delta.request_id)
            if generation is None:  # aborted meanwhile
                continue
            if delta.finish_reason is not None:
                del generations[delta.request_id]
            generation.push(delta)
