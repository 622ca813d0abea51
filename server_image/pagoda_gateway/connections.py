"""Which connections are open, what each waits for, and whose turn it is to go when time or room is short.

It knows times and counts, no sockets and no bytes. Each of its queues has the longest waiting first, so that a look at
all connections costs only what has expired.
"""

import logging
import resource
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 16_384
DESCRIPTORS_EACH = 2
"""A stream has one to its client and one to the server."""
UNREAD_LIMIT_BYTES = 16 * 1024 * 1024
"""Over all connections: heads that are not whole, and what clients sent before they were answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    max_connections: int
    header_seconds: float
    idle_seconds: float
    stalled_seconds: float


class Guest(Protocol):
    """A connection, as this module sees it."""

    def has_progressed(self) -> bool:
        """Returns True when its client took bytes since this was asked last."""

    def let_go(self) -> None:
        """Ends the connection at once."""


def choose_max_connections(asked: int, file_limit: int) -> int:
    """Returns the maximum that was asked for; `asked` 0 leaves it to what the process may open."""
    return asked or max(min(MAX_CONNECTIONS, file_limit // DESCRIPTORS_EACH), 1)


def read_file_limit() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_CONNECTIONS * DESCRIPTORS_EACH if soft == resource.RLIM_INFINITY else soft


class Connections:
    def __init__(self, limits: Limits, *, clock: Callable[[], float], count: Callable[[str], None]) -> None:
        self.limits = limits
        self.unread_bytes = 0
        self._clock = clock
        self._count = count
        self._open: set[Guest] = set()
        self._heads: dict[Guest, float] = {}
        """The connections whose request's head is awaited, and since when."""
        self._idle: dict[Guest, float] = {}
        """The connections between two requests."""
        self._leaving: dict[Guest, float] = {}
        """The connections that are done, once their client has taken the rest."""
        self._untold: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._open)

    def admit(self, guest: Guest) -> bool:
        """Returns False when there is no room and nobody idle to make some."""
        if len(self._open) >= self.limits.max_connections and not self._make_room():
            self._note("no_room", 1)
            return False
        self._open.add(guest)
        self._heads[guest] = self._clock()
        return True

    def await_head(self, guest: Guest) -> None:
        """Notes that a request's head is awaited. NB: more of the same head does not start its time again."""
        self._idle.pop(guest, None)
        if guest in self._open:
            self._heads.setdefault(guest, self._clock())

    def begin(self, guest: Guest) -> None:
        """Notes that a request is being answered: its time is others' to limit."""
        self._heads.pop(guest, None)
        self._idle.pop(guest, None)

    def rest(self, guest: Guest) -> None:
        if guest in self._open:
            self._idle[guest] = self._clock()

    def leave(self, guest: Guest) -> None:
        self.begin(guest)
        if guest in self._open:
            self._leaving[guest] = self._clock()

    def forget(self, guest: Guest) -> None:
        self.begin(guest)
        self._leaving.pop(guest, None)
        self._open.discard(guest)

    def hold(self, size: int) -> bool:
        """Counts bytes that wait unread; when there are too many, the heads that began first go.

        Returns False when that did not help.
        """
        self.unread_bytes += size
        while self.unread_bytes > UNREAD_LIMIT_BYTES and self._heads:
            self._let_go([next(iter(self._heads))], "unread_bytes")
        return self.unread_bytes <= UNREAD_LIMIT_BYTES

    def give_back(self, size: int) -> None:
        self.unread_bytes -= size

    def close_idle(self) -> None:
        """Ends those that have no request now, so that their clients come back to another gateway."""
        self._let_go([*self._idle, *self._heads], "moved")

    def sweep(self) -> None:
        now = self._clock()
        limits = self.limits
        self._let_go(_expired(self._heads, now - limits.header_seconds), "header_seconds")
        self._let_go(self._renew_readers(self._idle, now, limits.idle_seconds), "idle_seconds")
        self._let_go(self._renew_readers(self._leaving, now, limits.stalled_seconds), "stalled")
        self._tell()

    def note_stalled(self) -> None:
        self._note("stalled", 1)

    def _renew_readers(self, waiting: dict[Guest, float], now: float, seconds: float) -> list[Guest]:
        """Returns the expired ones, without those whose client still takes what it was sent: these start again."""
        gone = []
        for guest in _expired(waiting, now - seconds):
            del waiting[guest]
            if guest.has_progressed():
                waiting[guest] = now
            else:
                gone.append(guest)
        return gone

    def _make_room(self) -> bool:
        oldest = next(iter(self._idle), None) or next(iter(self._heads), None)
        if oldest is None:
            return False
        self._let_go([oldest], "room_made")
        return True

    def _let_go(self, guests: list[Guest], reason: str) -> None:
        for guest in guests:
            self.forget(guest)
            guest.let_go()
        if guests:
            self._note(reason, len(guests))

    def _note(self, reason: str, times: int) -> None:
        self._untold[reason] += times
        for _ in range(times):
            self._count(reason)

    def _tell(self) -> None:
        """Logs one line per sweep and reason: one per connection would be a stranger's way to fill the disk."""
        for reason, times in self._untold.items():
            log.info("connections let go reason=%s count=%d", reason, times)
        self._untold.clear()


def _expired(waiting: dict[Guest, float], before: float) -> list[Guest]:
    expired = []
    for guest, since in waiting.items():
        if since > before:
            break
        expired.append(guest)
    return expired
