"""The operator's listening sockets: how many may connect, how long each may say nothing, and that they only read.

Anyone in the cluster may reach them. A connection that asks nothing ends after seconds, and where there are too many
one that was silent for longest makes room: the kubelet, Prometheus and the API server still get in.
"""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from aiohttp import web

from pagoda_guard.tasks import Tasks

CONNECTIONS = 128
"""The maximum per port at a time; with TLS each costs some 300 kB."""
HANDSHAKE_SECONDS = 5.0
FIRST_REQUEST_SECONDS = 10.0
"""From connecting to the end of the first request's head."""
IDLE_SECONDS = 60.0
"""From one request to the next, its answer included."""
SWEEP_SECONDS = 1.0
BACKLOG = 256
HEAD_LINE_BYTES = 8190

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Refuse = Callable[[int, str], web.Response]
"""Makes the answer of a status and a message."""

log = logging.getLogger(__name__)
_http_log = logging.getLogger(f"{__name__}.http")


@dataclass(slots=True)
class _Peer:
    """A connection. It may stay as it is until `since` is `limit_seconds` ago."""

    since: float
    limit_seconds: float = FIRST_REQUEST_SECONDS
    has_asked: bool = False
    opening: asyncio.Task[None] | None = None
    transport: asyncio.WriteTransport | None = None
    protocol: asyncio.BaseProtocol | None = None

    def is_gone(self) -> bool:
        if self.opening is not None:
            return self.opening.done() and self.transport is None
        return getattr(self.protocol, "transport", None) is None

    def end(self) -> None:
        """Ends the connection.

        NB: what is gone stays among the peers until the next sweep, and Python 3.11.2 cannot abort its TLS.
        """
        if self.is_gone():
            return
        if self.transport is not None:
            self.transport.abort()
        elif self.opening is not None:
            self.opening.cancel()


class Port:
    """Serves an application on one port. `context` gives the TLS of the next connection; None refuses it."""

    def __init__(
        self,
        app: web.Application,
        *,
        port: int,
        tasks: Tasks,
        clock: Callable[[], float],
        host: str = "",
        context: Callable[[], ssl.SSLContext | None] | None = None,
    ) -> None:
        app.middlewares.insert(0, self._note_request)
        self._runner = web.AppRunner(
            app, access_log=None, auto_decompress=False, lingering_time=0.0, max_line_size=HEAD_LINE_BYTES,
            max_field_size=HEAD_LINE_BYTES, keepalive_timeout=IDLE_SECONDS, logger=_http_log,
            shutdown_timeout=1.0,
        )  # fmt: skip
        self._tasks, self._clock, self._context = tasks, clock, context
        self._host, self.number = host, port
        self._socket: socket.socket | None = None
        self._peers: list[_Peer] = []
        self._loops: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begins to serve. A `number` of 0 becomes that of a free port. Raises OSError where the port is taken."""
        self._socket = listening = _listen(self._host, self.number)
        self.number = listening.getsockname()[1]
        await self._runner.setup()
        self._loops = [
            self._tasks.keep(f"port {self.number}", lambda: self._accept(listening)),
            self._tasks.keep(f"port {self.number} sweep", self._sweep),
        ]

    @property
    def connections(self) -> int:
        return sum(not peer.is_gone() for peer in self._peers)

    def drop_connections(self) -> None:
        """Ends all connections, so that whoever comes back has to prove again who it is."""
        for peer in self._peers:
            peer.end()

    async def close(self) -> None:
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        if self._socket is not None:
            self._socket.close()
        self.drop_connections()
        await self._runner.cleanup()

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(listening)
            except ConnectionAbortedError:
                continue
            self._make_room()
            peer = _Peer(since=self._clock())
            self._peers.append(peer)
            opening = self._tasks.spawn(f"connection to port {self.number}", self._open(peer, connection))
            opening.add_done_callback(partial(_close_unopened, peer, connection))
            peer.opening = opening

    async def _open(self, peer: _Peer, connection: socket.socket) -> None:
        context = self._context() if self._context is not None else None
        if self._context is not None and context is None:
            return
        loop, seconds = asyncio.get_running_loop(), HANDSHAKE_SECONDS if context is not None else None
        assert self._runner.server is not None
        try:
            transport, protocol = await loop.connect_accepted_socket(
                self._runner.server, connection, ssl=context, ssl_handshake_timeout=seconds
            )
        except (OSError, TimeoutError) as error:  # it went away, was too slow, or could not prove who it is
            log.debug("connection not opened port=%s error=%s", self.number, type(error).__name__)
        else:
            assert isinstance(transport, asyncio.WriteTransport)
            peer.transport, peer.protocol, peer.opening = transport, protocol, None

    def _make_room(self) -> None:
        self._peers = [peer for peer in self._peers if not peer.is_gone()]
        if len(self._peers) >= CONNECTIONS:
            longest = min(self._crowd(), key=lambda peer: peer.since)
            longest.end()
            self._peers.remove(longest)

    def _crowd(self) -> list[_Peer]:
        """Returns those that have asked or those that have not, whichever are more: neither keeps the others out."""
        asked = [peer for peer in self._peers if peer.has_asked]
        silent = [peer for peer in self._peers if not peer.has_asked]
        return max(silent, asked, key=len)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self.end_overdue()

    def end_overdue(self) -> None:
        now = self._clock()
        self._peers = [peer for peer in self._peers if not peer.is_gone()]
        for peer in self._peers:
            if now - peer.since > peer.limit_seconds:
                peer.end()

    @web.middleware
    async def _note_request(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        peer = next((peer for peer in self._peers if peer.transport is request.transport), None)
        if peer is not None:
            peer.since, peer.limit_seconds, peer.has_asked = self._clock(), IDLE_SECONDS, True
        return await handler(request)


def _close_unopened(peer: _Peer, connection: socket.socket, _: asyncio.Task[None]) -> None:
    if peer.transport is None:
        connection.close()


def build_app(refuse: Refuse, count_error: Callable[[], None]) -> web.Application:
    """Returns an application that only reads.

    Other methods and bodies are refused unread, and a fault is one answer.
    """

    @web.middleware
    async def only_read(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.method not in ("GET", "HEAD"):
            return _last(refuse(405, "only GET and HEAD are answered here"), Allow="GET, HEAD")
        if request.body_exists:
            return _last(refuse(413, "a request here has no body"))
        try:
            return await handler(request)
        except web.HTTPException as error:
            return _last(refuse(error.status, error.reason))
        except Exception:  # the boundary of one request
            log.exception("request failed")
            count_error()
            return _last(refuse(500, "an error of the operator, told in its log"))

    return web.Application(middlewares=[only_read])


def refuse_in_text(status: int, message: str) -> web.Response:
    return web.Response(status=status, text=message + "\n")


def _last(answer: web.Response, **headers: str) -> web.Response:
    answer.headers.update(headers)
    answer.force_close()
    return answer


def _listen(host: str, port: int) -> socket.socket:
    if not host and socket.has_dualstack_ipv6():
        with contextlib.suppress(OSError):
            return _unblocked(
                socket.create_server(("", port), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True)
            )
    return _unblocked(socket.create_server((host, port), backlog=BACKLOG))


def _unblocked(listening: socket.socket) -> socket.socket:
    listening.setblocking(False)
    return listening


def _tell_kind_only(record: logging.LogRecord) -> bool:
    """Replaces what aiohttp logs of a malformed request, which would repeat the client's bytes."""
    error = record.exc_info[1] if record.exc_info else None
    record.msg, record.args, record.exc_info = "request refused error=%s", (type(error).__name__,), None
    return True


_http_log.addFilter(_tell_kind_only)
