"""A client that ended its sending: has it left, or does it still wait for its answer? TCP says the same of both.

The difference shows when something is sent: who has left resets the connection. So a few bytes that mean nothing are
sent, and the kernel is asked now and then whether the connection still stands. Nothing is read from it any more.
"""

import asyncio
import socket
from collections.abc import Callable, Iterator
from itertools import chain, repeat

from pagoda_gateway.tcp import is_reset

LOOK_AFTER_SECONDS = (0.005, 0.01, 0.03, 0.1, 0.3)
LOOK_EVERY_SECONDS = 1.0
ASK_AT_SECONDS = (0.0, 5.0, 20.0, 60.0)
"""NB: no more than four: some clients take only five interim answers."""
KEEPALIVE_SECONDS = 15
"""Where nothing can be sent in between the kernel asks; it is answered truly once the client's kernel has forgotten."""


class HalfClosed:
    """Looks after one connection whose client sends no more, until `stop`.

    `ask` sends what means nothing, and is asked again soon when it could not.
    """

    def __init__(self, connection: socket.socket, *, ask: Callable[[], bool], on_reset: Callable[[], None]) -> None:
        self._connection = connection
        self._ask = ask
        self._on_reset = on_reset
        self._loop = asyncio.get_running_loop()
        self._began_at = self._loop.time()
        self._pauses: Iterator[float] = chain(LOOK_AFTER_SECONDS, repeat(LOOK_EVERY_SECONDS))
        self._asks = list(ASK_AT_SECONDS)
        for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL):
            connection.setsockopt(socket.IPPROTO_TCP, option, KEEPALIVE_SECONDS)
        self._timer = self._loop.call_soon(self._look)

    def stop(self) -> None:
        self._timer.cancel()

    def _look(self) -> None:
        if is_reset(self._connection):
            self._on_reset()
            return
        if self._asks and self._loop.time() - self._began_at >= self._asks[0]:
            del self._asks[: self._ask()]
        self._timer = self._loop.call_later(next(self._pauses), self._look)
