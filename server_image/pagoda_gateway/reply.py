"""The client's side of one request: what was promised to it so far, and how a failure is told after that.

Before the first byte a failure is a status; after it an event in the stream or a cut connection, never silence that
looks like success. It must hold back nothing: what is written goes out at once.
"""

from typing import NoReturn

from aiohttp import web

from pagoda_gateway.errors import Refusal, build_error_body, build_error_event, build_error_response
from pagoda_gateway.upstream import Head

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


class Reply:
    def __init__(self, request: web.Request) -> None:
        self._request = request
        self._response: web.StreamResponse | None = None
        self._pinged = False
        self._is_sse = False
        self.close_after = False

    @property
    def committed(self) -> bool:
        return self._response is not None

    @property
    def pinged(self) -> bool:
        """True when the 200 of an event stream went out before the server answered."""
        return self._pinged

    async def ping(self) -> None:
        if self._response is None:
            self._pinged = True
            await self._open(web.StreamResponse(headers={"Content-Type": SSE}))
        await self.write(b": ping\n\n")

    async def start(self, head: Head) -> None:
        named = {name.strip().lower() for name in head.get("connection").split(",")}
        response = web.StreamResponse(status=head.status)
        for key, value in head.headers:
            if key.lower() not in HOP_HEADERS | named:
                response.headers.add(key, value)
        await self._open(response)

    async def write(self, piece: bytes) -> None:
        assert self._response is not None
        try:
            await self._response.write(piece)
        except OSError as error:
            raise ClientGone(self._response) from error

    async def finish(self) -> web.StreamResponse:
        assert self._response is not None
        try:
            await self._response.write_eof()
        except OSError as error:
            raise ClientGone(self._response) from error
        return self._response

    async def fail(self, refusal: Refusal) -> web.StreamResponse:
        if self._response is None:
            refusal.close = refusal.close or self.close_after
            return build_error_response(refusal)
        if not self._is_sse:
            self._cut(self._response)
        return await self.fail_event(build_error_body(refusal), between=b"\n\n")

    async def fail_event(self, body: bytes, *, between: bytes = b"") -> web.StreamResponse:
        """NB: the last event may be half written, hence the empty line before."""
        await self.write(between + build_error_event(body))
        return await self.finish()

    def _cut(self, response: web.StreamResponse) -> NoReturn:
        """An answer that is not a stream of events can only say it is incomplete by not ending."""
        if self._request.transport is not None:
            self._request.transport.abort()
        raise ClientGone(response)

    async def _open(self, response: web.StreamResponse) -> None:
        self._response = response
        self._is_sse = response.headers.get("Content-Type", "").startswith(SSE)
        if self._is_sse:
            response.headers["X-Accel-Buffering"] = "no"
            response.headers.setdefault("Cache-Control", "no-cache")
        if self.close_after:
            response.force_close()
        try:
            await response.prepare(self._request)
        except OSError as error:
            raise ClientGone(response) from error
