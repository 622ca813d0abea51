"""The client's side of one request: what was promised to it so far, and how a failure is told after that.

aiohttp writes the head and the end of an answer; between them its body goes to the connection directly, in the framing
that the head promised. Before the first byte a failure is a status; after it an event in the stream or a cut
connection, never silence that looks like success. It must hold back nothing: what is written goes out at once.
"""

from collections.abc import Callable
from typing import NoReturn, cast

from aiohttp import HttpVersion11, web

from pagoda_gateway.connection import Connection
from pagoda_gateway.dialects import choose_dialect
from pagoda_gateway.error_answers import build_error_response
from pagoda_gateway.errors import Refusal
from pagoda_gateway.responses.capture import Capture, CapturingSink
from pagoda_gateway.stamp import stamp
from pagoda_gateway.upstream import Exchange, Head

SSE = "text/event-stream"
HOP_HEADERS = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer"}
    | {"transfer-encoding", "upgrade"}
)


class ClientGone(Exception):
    """The client's connection is closed; nothing more can be told to it."""

    def __init__(self, response: web.StreamResponse) -> None:
        super().__init__("the client's connection is closed")
        self.response = response


class ClientSink:
    """The client's connection as the sink of a body. NB: only between the head and the end of `response`."""

    def __init__(self, request: web.Request, response: web.StreamResponse, on_first_byte: Callable[[], None]) -> None:
        if request.transport is None:
            raise ClientGone(response)
        self._transport = request.transport
        self._connection = request.protocol
        self._writer = request.writer
        self._response = response
        self._on_first_byte: Callable[[], None] | None = on_first_byte
        self.as_chunks = response.chunked

    def take(self, piece: bytes) -> bool:
        if self._transport.is_closing():
            return False
        self._transport.write(piece)
        if self._on_first_byte is not None:
            self._on_first_byte()
            self._on_first_byte = None
        return not self._connection.writing_paused

    async def drain(self) -> None:
        """Waits until the client takes more.

        Raises ClientGone for a closing connection, though its last bytes may be on their way.
        """
        if self._transport.is_closing():
            raise ClientGone(self._response)
        try:
            await self._writer.drain()
        except OSError as error:
            raise ClientGone(self._response) from error


class Reply:
    def __init__(self, request: web.Request) -> None:
        self._request = request
        self.dialect = choose_dialect(request.path)
        self._connection = cast(Connection, request.protocol)
        self._response: web.StreamResponse | None = None
        self._exchange: Exchange | None = None
        self._pinged = False
        self._is_sse = False
        self.close_after = False

    @property
    def is_chunked(self) -> bool:
        """Returns True when the body goes out in chunks."""
        return self._response is not None and self._response.chunked

    @property
    def committed(self) -> bool:
        return self._response is not None

    @property
    def pinged(self) -> bool:
        """Returns True when the 200 of an event stream went out before the server answered."""
        return self._pinged

    async def ping(self) -> None:
        if self._response is None:
            self._pinged = True
            await self._open(web.StreamResponse(headers={"Content-Type": SSE}))
        await self._write(self.dialect.ping)

    async def start(self, head: Head) -> None:
        hidden = HOP_HEADERS | {name.strip().lower() for name in head.get("connection").split(",")}
        if head.get("transfer-encoding"):
            hidden |= {"content-length"}
        response = web.StreamResponse(status=head.status)
        for key, value in head.headers:
            if key.lower() not in hidden:
                response.headers.add(key, value)
        await self._open(response)

    async def copy(
        self, exchange: Exchange, on_first_byte: Callable[[], None], capture: Capture | None = None
    ) -> web.StreamResponse:
        assert self._response is not None
        self._exchange = exchange
        if self._request.method == "HEAD":
            return await self._finish()
        sink = ClientSink(self._request, self._response, on_first_byte)
        if capture is None:
            await exchange.copy(sink)
        else:
            await exchange.copy(CapturingSink(sink, capture))
            capture.finish()
        return await self._finish()

    async def fail(self, refusal: Refusal) -> web.StreamResponse:
        if self._response is None:
            refusal.close = refusal.close or self.close_after
            return build_error_response(refusal, self.dialect)
        if not self._takes_events():
            self._cut(self._response)
        return await self.fail_event(self.dialect.build_body(refusal), between=b"\n\n")

    def _takes_events(self) -> bool:
        """Returns False when one more event would be inside a chunk, or beyond the length that was promised."""
        assert self._response is not None
        torn = self._exchange is not None and self._exchange.torn
        return self._is_sse and not torn and "Content-Length" not in self._response.headers

    def _stands_between_chunks(self) -> bool:
        return self._exchange is None or not self._exchange.torn

    async def fail_event(self, body: bytes, *, between: bytes = b"") -> web.StreamResponse:
        """Ends the stream with an error. NB: the last event may be half written, hence `between`, an empty line."""
        await self._write(between + self.dialect.build_event(body))
        return await self._finish()

    async def _write(self, piece: bytes) -> None:
        assert self._response is not None
        try:
            await self._response.write(piece)
        except OSError as error:
            raise ClientGone(self._response) from error

    async def _finish(self) -> web.StreamResponse:
        assert self._response is not None
        self._connection.watch_border(None)
        try:
            await self._response.write_eof()
        except OSError as error:
            raise ClientGone(self._response) from error
        return self._response

    def _cut(self, response: web.StreamResponse) -> NoReturn:
        """Cuts the connection: an answer that is no stream of events can only say it is incomplete by not ending."""
        if self._request.transport is not None:
            self._request.transport.abort()
        raise ClientGone(response)

    async def _open(self, response: web.StreamResponse) -> None:
        self._response = response
        self._is_sse = response.headers.get("Content-Type", "").startswith(SSE)
        if self._is_sse:
            response.headers["X-Accel-Buffering"] = "no"
            response.headers.setdefault("Cache-Control", "no-cache")
        stamp(self._request, response.headers)
        if self.close_after:
            response.force_close()
        if response.content_length is None:
            self._frame(response)
        try:
            await response.prepare(self._request)
        except OSError as error:
            raise ClientGone(response) from error
        if response.chunked:
            self._connection.watch_border(self._stands_between_chunks)

    def _frame(self, response: web.StreamResponse) -> None:
        """Chooses the framing: HTTP/1.0 knows no chunks, and a client that keeps its connection would see no end."""
        if self._request.version >= HttpVersion11:
            response.enable_chunked_encoding()
        else:
            response.force_close()
