"""Accepting from the listening socket that all fronts of a server share.

There is one accept queue, in the kernel: what a front has not taken when it ends is left to the others. Who has the
minimum of connections takes the next; the others wait a moment, in case that one is stuck.
"""

import asyncio
import logging
import socket
from collections.abc import Callable

from aiohttp import web

from pagoda_guard.tasks import Tasks
from pagoda_server.http.tally import Tally

log = logging.getLogger(__name__)
BACKLOG = 1024
"""Above the requests that may come at once: a full queue refuses its client, and nobody here would know."""
GIVE_WAY_SECONDS = 0.002
PAUSE_AFTER_ERROR_SECONDS = 1.0
HEAD_SECONDS = 30.0
"""For the head of a connection's first request; aiohttp bounds the time between two."""


class Listener:
    """NB: one connection is taken at a wake-up, else whoever wakes first takes a whole burst."""

    def __init__(self, listener: socket.socket, server: web.Server, tally: Tally) -> None:
        self._listener = listener
        self._server = server
        self._tally = tally
        self._loop = asyncio.get_running_loop()
        self._delay: asyncio.TimerHandle | None = None
        self._tasks = Tasks()
        self._handing_over = 0
        self._is_short = False
        self._silent: dict[web.RequestHandler, asyncio.TimerHandle] = {}

    def start(self) -> None:
        self._listener.setblocking(False)
        self._listener.listen(BACKLOG)
        self._count()
        self._watch()

    def close(self) -> None:
        """What was accepted goes on. NB: the socket listens on in the other fronts."""
        self._loop.remove_reader(self._listener.fileno())
        if self._delay is not None:
            self._delay.cancel()
        self._listener.close()

    def note_request(self, protocol: web.RequestHandler) -> None:
        """A connection is silent no longer."""
        if (timer := self._silent.pop(protocol, None)) is not None:
            timer.cancel()

    def _watch(self) -> None:
        self._loop.add_reader(self._listener.fileno(), self._wake)

    def _wake(self) -> None:
        self._count()
        if self._tally.has_minimum_connections:
            self._accept()
        else:
            self._pause(GIVE_WAY_SECONDS, self._accept_late)

    def _pause(self, seconds: float, then: Callable[[], None]) -> None:
        self._loop.remove_reader(self._listener.fileno())
        self._delay = self._loop.call_later(seconds, then)

    def _accept_late(self) -> None:
        self._watch()
        self._accept()

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):  # another front was quicker, or the client is gone
            return
        except OSError as error:  # out of file descriptors: the socket stays readable, so look again later
            if not self._is_short:
                log.warning("connections wait: error=%s", error)
            self._is_short = True
            self._pause(PAUSE_AFTER_ERROR_SECONDS, self._watch)
            return
        self._is_short = False
        self._handing_over += 1
        self._tasks.spawn("hand over a connection", self._hand_over(connection))
        self._count()

    async def _hand_over(self, connection: socket.socket) -> None:
        try:
            connection.setblocking(False)
            await self._loop.connect_accepted_socket(self._build_protocol, connection)
        except OSError as error:
            log.warning("connection lost: error=%s", error)
            connection.close()
        finally:
            self._handing_over -= 1

    def _build_protocol(self) -> web.RequestHandler:
        protocol = self._server()
        self._silent[protocol] = self._loop.call_later(HEAD_SECONDS, self._give_up, protocol)
        return protocol

    def _give_up(self, protocol: web.RequestHandler) -> None:
        del self._silent[protocol]
        protocol.force_close()

    def _count(self) -> None:
        self._tally.set_connections(len(self._server.connections) + self._handing_over)
