"""Accepting from a listening socket that other gateways accept from too: `pagoda run` gives one to all its replicas.

There is one accept queue, in the kernel, and it outlives each gateway: who stops accepting leaves what nobody has taken
yet to the others or to a successor. Listeners of their own (SO_REUSEPORT) would reset those connections on leaving.
"""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable

from aiohttp import web

log = logging.getLogger(__name__)

DELAY_SECONDS = 0.0005
LONGEST_DELAY_SECONDS = 0.005
PAUSE_AFTER_ERROR_SECONDS = 1.0


def accept_delay_seconds(open_connections: int) -> float:
    """The busier waits longer, so that of idle and busy gateways the idle one takes the connection."""
    return min(open_connections * DELAY_SECONDS, LONGEST_DELAY_SECONDS)


class SharedListener:
    """NB: only one connection is taken at a wake-up, else whoever wakes first takes the whole burst."""

    def __init__(self, fd: int) -> None:
        self._listener = socket.socket(fileno=fd)
        self._listener.setblocking(False)
        self._server: web.Server | None = None
        self._accepting = False
        self._delay: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._open: set[asyncio.BaseTransport] = set()
        self._busy: set[asyncio.BaseTransport] = set()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @property
    def accepting(self) -> bool:
        return self._accepting

    def serve(self, server: web.Server) -> None:
        """Whom to give connections to. None is taken before `resume`."""
        self._server = server

    @web.middleware
    async def track(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        assert request.transport is not None
        transport = request.transport
        self._busy.add(transport)
        try:
            return await handler(request)
        finally:
            self._busy.discard(transport)

    def resume(self) -> None:
        if not self._accepting:
            self._accepting = True
            self._watch()
            log.info("accepting")

    def pause(self) -> None:
        """What was accepted goes on."""
        if self._accepting:
            self._accepting = False
            asyncio.get_running_loop().remove_reader(self._listener.fileno())
            if self._delay is not None:
                self._delay.cancel()
            log.info("accepting no more")

    def close_idle(self) -> None:
        """Close the connections that have no request now, so that their clients come back to another gateway.

        NB: not aiohttp's `pre_shutdown`: it leaves idle connections open with nobody reading, and drops the rest of a
        body that is being sent.
        """
        for transport in self._find_open() - self._busy:
            transport.close()

    def _find_open(self) -> set[asyncio.BaseTransport]:
        self._open = {transport for transport in self._open if not transport.is_closing()}
        return self._open

    def close(self) -> None:
        """NB: closes this process's handle only; the socket listens on in the others."""
        self.pause()
        self._listener.close()

    def _watch(self) -> None:
        asyncio.get_running_loop().add_reader(self._listener.fileno(), self._wait_politely)

    def _wait_politely(self) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._listener.fileno())
        self._delay = loop.call_later(accept_delay_seconds(len(self._find_open())), self._accept)

    def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            connection, _ = self._listener.accept()
        except BlockingIOError:  # another gateway was quicker
            self._watch()
            return
        except OSError as error:  # out of file descriptors: the socket stays readable, so look again later
            log.warning("connection not accepted error=%s", error)
            self._delay = loop.call_later(PAUSE_AFTER_ERROR_SECONDS, self._watch)
            return
        self._watch()
        task = loop.create_task(self._hand_over(connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _hand_over(self, connection: socket.socket) -> None:
        assert self._server is not None
        connection.setblocking(False)
        transport, _ = await asyncio.get_running_loop().connect_accepted_socket(self._server, connection)
        self._open.add(transport)
