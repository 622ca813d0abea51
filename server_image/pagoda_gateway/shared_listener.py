"""Accepting from a listening socket that other gateways accept from too: `pagoda run` gives one to all its replicas.

There is one accept queue, in the kernel, and it outlives each gateway: who stops accepting leaves what nobody has taken
yet to the others or to a successor. Listeners of their own (SO_REUSEPORT) would reset those connections on leaving.
"""

import asyncio
import logging
import socket
from collections.abc import Callable

from pagoda_gateway.connections import Connections
from pagoda_guard.tasks import Tasks

log = logging.getLogger(__name__)

DELAY_SECONDS = 0.0005
LONGEST_DELAY_SECONDS = 0.005
PAUSE_AFTER_ERROR_SECONDS = 1.0


def accept_delay_seconds(open_connections: int) -> float:
    """The busier waits longer, so that of idle and busy gateways the idle one takes the connection."""
    return min(open_connections * DELAY_SECONDS, LONGEST_DELAY_SECONDS)


class SharedListener:
    """NB: only one connection is taken at a wake-up, else whoever wakes first takes the whole burst."""

    def __init__(self, fd: int, connections: Connections) -> None:
        self._listener = socket.socket(fileno=fd)
        self._listener.setblocking(False)
        self._connections = connections
        self._build_connection: Callable[[], asyncio.Protocol] | None = None
        self._accepting = False
        self._delay: asyncio.TimerHandle | None = None
        self._failing = False
        self._tasks = Tasks()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @property
    def accepting(self) -> bool:
        return self._accepting

    def serve(self, build_connection: Callable[[], asyncio.Protocol]) -> None:
        """Who serves each connection. None is taken before `resume`."""
        self._build_connection = build_connection

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

    def close(self) -> None:
        """NB: closes this process's handle only; the socket listens on in the others."""
        self.pause()
        self._listener.close()

    def _watch(self) -> None:
        asyncio.get_running_loop().add_reader(self._listener.fileno(), self._wait_politely)

    def _wait_politely(self) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._listener.fileno())
        self._delay = loop.call_later(accept_delay_seconds(len(self._connections)), self._accept)

    def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            connection, _ = self._listener.accept()
        except BlockingIOError:  # another gateway was quicker
            self._watch()
            return
        except OSError as error:  # out of file descriptors: the socket stays readable, so look again later
            self._report(error)
            self._delay = loop.call_later(PAUSE_AFTER_ERROR_SECONDS, self._watch)
            return
        self._report(None)
        self._watch()
        self._tasks.spawn("hand over", self._hand_over(connection))

    def _report(self, error: OSError | None) -> None:
        """Once when it begins and once when it ends."""
        if error is not None and not self._failing:
            log.warning("connections cannot be accepted error=%s", error)
        elif error is None and self._failing:
            log.info("connections are accepted again")
        self._failing = error is not None

    async def _hand_over(self, connection: socket.socket) -> None:
        assert self._build_connection is not None
        connection.setblocking(False)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(self._build_connection, connection)
        except OSError:  # gone before it was taken
            connection.close()
