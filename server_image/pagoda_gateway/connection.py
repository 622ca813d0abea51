"""A client's connection: aiohttp's, with a bound on everything a stranger can make it wait for or keep.

Whatever comes, its client gets an answer in our shape or is let go in bounded time; what it sent is never logged or
repeated. It decides nothing about requests: whose time is up is `connections`' to say.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, NoReturn, cast

from aiohttp import HttpVersion11, web
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import _ErrInfo

from pagoda_gateway.connections import Connections
from pagoda_gateway.cors import Cors
from pagoda_gateway.dialects import choose_dialect
from pagoda_gateway.error_answers import build_error_response, build_raw_refusal
from pagoda_gateway.errors import (
    HEADERS_LIMIT,
    LINE_LIMIT_BYTES,
    Refusal,
    build_bytes_refusal,
    name_place,
    read_http_error,
)
from pagoda_gateway.failure_log import FAILURE, FailureLog
from pagoda_gateway.half_close import HalfClosed
from pagoda_gateway.stamp import begin_stamp, stamp
from pagoda_gateway.tcp import Progress, is_tcp

log = logging.getLogger(__name__)

HEAD_LIMIT_BYTES = 32 * 1024
READ_BYTES = 64 * 1024
PIPELINE_LIMIT_BYTES = 64 * 1024
"""The bytes of requests that are sent before the one in hand is answered; beyond it the connection is not read from."""
LINGER_SECONDS = 5.0
LINGER_BYTES = 8 * 1024 * 1024
NEVER_SECONDS = 10 * 365 * 86_400.0
"""aiohttp's own time for idle connections: ours is the sweep's."""
NO_ROOM = build_raw_refusal(
    Refusal(503, "too_many_connections", "Too many connections are open: try again later.", retry_after_seconds=1)
)
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"
CHUNK_SIZE_BEGUN = b"0"
"""A leading zero of the next chunk's size: no reader sees it."""

Judge = Callable[[web.BaseRequest], None]
Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Connection(web.RequestHandler):
    def __init__(
        self,
        server: web.Server,
        *,
        connections: Connections,
        judge: Judge,
        count: Callable[[str], None],
        cors: Cors,
        failures: FailureLog,
    ) -> None:
        loop = asyncio.get_running_loop()
        options: dict[str, Any] = {"access_log": None, "keepalive_timeout": NEVER_SECONDS, "lingering_time": 0.0}
        super().__init__(
            server,
            loop=loop,
            auto_decompress=False,
            max_headers=HEADERS_LIMIT,
            max_line_size=LINE_LIMIT_BYTES,
            max_field_size=LINE_LIMIT_BYTES,
            read_bufsize=READ_BYTES,
            **options,
        )
        self._connections = connections
        self._judge = judge
        self._count_refused = count
        self._cors = cors
        self._failures = failures
        self._wire: asyncio.Transport | None = None
        self._peer = "unknown"
        self._busy = False
        self._content: StreamReader = EMPTY_PAYLOAD
        """The body of the request that came last."""
        self._unread_bytes = 0
        self._progress = Progress()
        self._bad = False
        self._discarded: asyncio.Future[None] | None = None
        self._discard_bytes = LINGER_BYTES
        self._half_closed: HalfClosed | None = None
        self._at_border: Callable[[], bool] | None = None
        self._handler: Handler = server.request_handler
        self._request_handler = self._answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._wire = wire = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self._peer = str(peer[0]) if peer else "local"
        if self._connections.admit(self):
            super().connection_made(transport)
        else:
            self._bad = True
            wire.write(NO_ROOM)
            wire.close()

    def connection_lost(self, error: BaseException | None) -> None:
        self._connections.forget(self)
        self._give_back()
        self._wire = None
        self._stop_discarding()
        if self._half_closed is not None:
            self._half_closed.stop()
        super().connection_lost(error)

    async def start(self) -> None:
        try:
            await super().start()
        finally:
            if self._wire is not None:
                self._connections.leave(self)

    def let_go(self) -> None:
        self._give_back()
        if self._wire is not None:
            self._wire.abort()

    def data_received(self, data: bytes) -> None:
        if self._bad or self._discarded is not None:
            self._discard(len(data))
            return
        content, is_early = self._content, self._busy and self._content.is_eof()
        try:
            super().data_received(data)
        except Exception as error:  # the parser has callbacks, and callbacks may raise anything
            self._refuse(400, error)
        self._note_messages(content)
        if is_early:
            self._hold(len(data))
            self._pause_when_far_ahead()
        elif self._busy:
            self._connections.begin(self)
        else:
            self._await_head(len(data))

    def eof_received(self) -> bool:  # type: ignore[override]
        """Returns True to keep the connection: its client has asked all and may still wait for the answer."""
        has_asked = self._busy and not self._bad and self._discarded is None and self._content.is_eof()
        if self._wire is None or not has_asked:
            return False
        connection = self._wire.get_extra_info("socket")
        if not is_tcp(connection):
            return False
        self._half_closed = HalfClosed(connection, ask=self._ask_whether_there, on_reset=self.let_go)
        return True

    def _note_messages(self, content: StreamReader) -> None:
        if not self._messages:
            return
        self._busy = True
        message, self._content = self._messages[-1]
        if not isinstance(message, RawRequestMessage):
            self._note_bad(message.exc, content)

    def _note_bad(self, error: BaseException, content: StreamReader) -> None:
        """Notes bytes that make no sense.

        NB: the parser does not end a body that makes no sense; whoever reads it would wait for the rest.
        """
        self._bad = True
        self._count_refused("bad_request")
        log.info("request makes no sense peer=%s kind=%s", self._peer, type(error).__name__)
        if not content.is_eof():
            content.set_exception(web.RequestPayloadError("the body makes no sense"))

    def _await_head(self, size: int) -> None:
        self._connections.await_head(self)
        self._hold(size)
        if self._unread_bytes > HEAD_LIMIT_BYTES:
            content = self._content
            self._refuse(431, LineTooLong("", HEAD_LIMIT_BYTES))
            self._note_messages(content)
            self._connections.begin(self)

    def _refuse(self, status: int, error: BaseException) -> None:
        self._messages.append((_ErrInfo(status, error, ""), EMPTY_PAYLOAD))
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _hold(self, size: int) -> None:
        self._unread_bytes += size
        if not self._connections.hold(size):
            self.let_go()

    def _give_back(self) -> None:
        self._connections.give_back(self._unread_bytes)
        self._unread_bytes = 0

    def _pause_when_far_ahead(self) -> None:
        """Stops reading from a client that is far ahead. aiohttp reads on when it comes to the next request."""
        if self._unread_bytes > PIPELINE_LIMIT_BYTES and not self._buffer_paused:
            self._pause_reading_for_buffer()

    async def _handle_request(self, request: web.BaseRequest, start_time: float | None, handler: Handler) -> Any:
        if not self._messages:
            self._give_back()
        response, reset = await super()._handle_request(request, start_time, handler)
        self._at_border = None
        if not reset:
            await self._end_request(request)
        return response, reset

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answers every request. What is refused with its body unread takes the connection along."""
        begin_stamp(request, self._cors)
        try:
            self._judge(request)
            response = await self._handler(request)
        except Refusal as refusal:
            self._count_refused(refusal.code)
            response = self._refuse_request(request, refusal)
        except web.HTTPException as error:
            response = self._refuse_request(request, read_http_error(error))
        self._failures.note(request, response.status)
        if not response.prepared:
            stamp(request, response.headers)
            if not request.content.is_eof():
                response.force_close()
        return response

    def _refuse_request(self, request: web.BaseRequest, refusal: Refusal) -> web.Response:
        request[FAILURE] = refusal.code
        return build_error_response(refusal, choose_dialect(request.path))

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Returns the answer to what failed, and closes the connection.

        NB: it is not aiohttp's, which logs and repeats what came.
        """
        if request.writer.output_size:
            raise ConnectionError("an answer had begun")
        refusal = Refusal(500, "internal_error", "The gateway failed to answer.", close=True)
        if status < 500:
            refusal = build_bytes_refusal(status, exc)
        else:
            self.log_exception("", exc_info=exc)
        begin_stamp(request, self._cors)
        response = build_error_response(refusal)
        stamp(request, response.headers)
        return response

    def log_exception(self, *args: Any, exc_info: BaseException | None = None, **kw: Any) -> None:
        """Logs the error's kind and its place: what it says may be what a client wrote."""
        log.error("request failed peer=%s error=%s at=%s", self._peer, type(exc_info).__name__, name_place(exc_info))

    async def _end_request(self, request: web.BaseRequest) -> None:
        if not request.content.is_eof() or (self._bad and not self._messages):
            await self._linger()
        elif not self._messages:
            self._busy = False
            self._connections.rest(self)
            if self._half_closed is not None:
                self.close()

    async def _linger(self) -> None:
        """Lets the client read its answer: a connection closed with bytes unread would be reset under it."""
        if self._wire is None or self._half_closed is not None:
            return
        self._discarded = self._loop.create_future()
        self._wire.write_eof()
        self._resume_transport_reading()
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                await self._discarded

    def _discard(self, size: int) -> None:
        self._discard_bytes -= size
        if self._discard_bytes < 0:
            self._stop_discarding()

    def _stop_discarding(self) -> None:
        if self._discarded is not None and not self._discarded.done():
            self._discarded.set_result(None)

    async def _drain_helper(self) -> None:
        """Waits while the client takes bytes, however slowly; one that takes none is let go."""
        self.has_progressed()
        while True:
            try:
                async with asyncio.timeout(self._connections.limits.stalled_seconds):
                    return await super()._drain_helper()
            except TimeoutError:
                self._drain_waiter = None
                if not self.has_progressed():
                    self._let_reader_go()

    def _let_reader_go(self) -> NoReturn:
        log.info("reader takes nothing and is let go peer=%s", self._peer)
        self._connections.note_stalled()
        self.let_go()
        raise ConnectionResetError("the client takes nothing")

    def has_progressed(self) -> bool:
        return self._wire is not None and self._progress.look(self._wire)

    def watch_border(self, at_border: Callable[[], bool] | None) -> None:
        """Takes what says whether a chunked answer stands between two chunks; None for one that is not chunked, or
        ended.
        """
        self._at_border = at_border

    def _ask_whether_there(self) -> bool:
        """Sends what means nothing to a client that is there, and draws a reset from one that is not.

        Returns False when nothing can be sent now.
        """
        request, wire = self._current_request, self._wire
        if request is None or wire is None or wire.is_closing():
            return False
        if not request.writer.output_size and request.version == HttpVersion11:
            wire.write(INTERIM)
            return True
        if self._at_border is not None and self._at_border():
            wire.write(CHUNK_SIZE_BEGUN)
            return True
        return False
