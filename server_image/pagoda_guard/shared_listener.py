"""Accepting from a listening socket that several processes share.

There is one accept queue, in the kernel, and it outlives each process: who stops accepting leaves what nobody has taken
yet to the others or to a successor. Listeners of their own (SO_REUSEPORT) would reset those connections on leaving.
Which process takes the next connection is the callers' policy: each says how long it leaves it to the others.
"""

import asyncio
import logging
import socket
from collections.abc import Callable

from pagoda_guard.tasks import Tasks

log = logging.getLogger(__name__)

PAUSE_AFTER_ERROR_SECONDS = 1.0
BuildProtocol = Callable[[], asyncio.BaseProtocol]


class SharedListener:
    """Takes one connection per wake-up, else whoever wakes first would take a whole burst.

    `find_delay_seconds` says how long the next connection is left to the other processes; 0: it is taken at once.
    """

    def __init__(
        self,
        listener: socket.socket,
        find_delay_seconds: Callable[[], float],
        *,
        on_accepted: Callable[[], None] = lambda: None,
    ) -> None:
        self._listener = listener
        self._listener.setblocking(False)
        self._find_delay_seconds = find_delay_seconds
        self._on_accepted = on_accepted
        self._build_protocol: BuildProtocol | None = None
        self._delay: asyncio.TimerHandle | None = None
        self._failing = False
        self._tasks = Tasks()
        self.accepting = False
        self.handing_over = 0
        """Connections that were accepted and have no protocol yet."""

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def serve(self, build_protocol: BuildProtocol) -> None:
        """Sets what serves each connection. None is taken before `resume`."""
        self._build_protocol = build_protocol

    def resume(self) -> None:
        """Starts accepting; a second call changes nothing."""
        if not self.accepting:
            self.accepting = True
            self._watch()
            log.info("accepting")

    def pause(self) -> None:
        """Stops accepting; what was accepted goes on."""
        if self.accepting:
            self.accepting = False
            self._ignore()
            if self._delay is not None:
                self._delay.cancel()
            log.info("accepting no more")

    def close(self) -> None:
        """Closes this process's handle only. NB: the socket listens on in the others."""
        self.pause()
        self._listener.close()

    def _watch(self) -> None:
        asyncio.get_running_loop().add_reader(self._listener.fileno(), self._wake)

    def _ignore(self) -> None:
        asyncio.get_running_loop().remove_reader(self._listener.fileno())

    def _wake(self) -> None:
        if seconds := self._find_delay_seconds():
            self._pause(seconds, self._accept_late)
        else:
            self._accept()

    def _pause(self, seconds: float, then: Callable[[], None]) -> None:
        self._ignore()
        self._delay = asyncio.get_running_loop().call_later(seconds, then)

    def _accept_late(self) -> None:
        self._watch()
        self._accept()

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):  # another process was quicker, or the client is gone
            return
        except OSError as error:  # out of file descriptors: the socket stays readable, so look again later
            self._report(error)
            self._pause(PAUSE_AFTER_ERROR_SECONDS, self._watch)
            return
        self._report(None)
        self.handing_over += 1
        self._tasks.spawn("hand over a connection", self._hand_over(connection))
        self._on_accepted()

    def _report(self, error: OSError | None) -> None:
        """Logs once when accepting begins to fail and once when it works again."""
        if error is not None and not self._failing:
            log.warning("connections cannot be accepted error=%s", error)
        elif error is None and self._failing:
            log.info("connections are accepted again")
        self._failing = error is not None

    async def _hand_over(self, connection: socket.socket) -> None:
        assert self._build_protocol is not None
        try:
            connection.setblocking(False)
            await asyncio.get_running_loop().connect_accepted_socket(self._build_protocol, connection)
        except OSError as error:  # gone before it was served
            log.debug("connection lost error=%s", error)
            connection.close()
        finally:
            self.handing_over -= 1
