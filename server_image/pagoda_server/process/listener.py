"""Accepting from the listening socket that all fronts of a server share.

The front with the minimum number of connections takes the next; the others wait a moment, in case that one is stuck.
"""

import asyncio
import socket

from aiohttp import web

from pagoda_guard.shared_listener import SharedListener
from pagoda_server.http.tally import Tally

BACKLOG = 1024
"""Above the requests that may come at once: a full queue refuses its client, and nobody here would know."""
GIVE_WAY_SECONDS = 0.002
HEAD_SECONDS = 30.0
"""The longest wait for the head of a connection's first request; aiohttp bounds the time between two."""


class Listener:
    """Accepts for one front, tells the others how many connections it has, and closes those that ask nothing."""

    def __init__(self, listener: socket.socket, server: web.Server, tally: Tally) -> None:
        self._listener = listener
        self._server = server
        self._tally = tally
        self._loop = asyncio.get_running_loop()
        self._shared = SharedListener(listener, self._find_delay_seconds, on_accepted=self._count)
        self._shared.serve(self._build_protocol)
        self._silent: dict[web.RequestHandler, asyncio.TimerHandle] = {}

    def start(self) -> None:
        self._listener.listen(BACKLOG)
        self._count()
        self._shared.resume()

    def close(self) -> None:
        """Stops accepting; what was accepted goes on. NB: the socket listens on in the other fronts."""
        self._shared.close()

    def note_request(self, protocol: web.RequestHandler) -> None:
        """Notes that a connection is silent no longer."""
        if (timer := self._silent.pop(protocol, None)) is not None:
            timer.cancel()

    def _find_delay_seconds(self) -> float:
        self._count()
        return 0.0 if self._tally.has_minimum_connections else GIVE_WAY_SECONDS

    def _build_protocol(self) -> web.RequestHandler:
        protocol = self._server()
        self._silent[protocol] = self._loop.call_later(HEAD_SECONDS, self._give_up, protocol)
        return protocol

    def _give_up(self, protocol: web.RequestHandler) -> None:
        del self._silent[protocol]
        protocol.force_close()

    def _count(self) -> None:
        self._tally.set_connections(len(self._server.connections) + self._shared.handing_over)
