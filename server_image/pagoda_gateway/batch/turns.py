"""The turns of batch requests: whoever wants one waits here until the pace allows it, and may have to give it back.

Nothing of it is on a live request's way: queue and server are looked at again and again while there is batch work.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from pagoda_gateway.batch.pace import Attribution, Figures, Pace, Room, Seen
from pagoda_gateway.load import ServerLoad

LOOK_SECONDS = 0.02
LARGEST_PART = 4
"""One request counts for at most a quarter of the rows, as in the queue."""


class Leaving(Exception):
    """No turn will come: the gateway drains."""


class Turn:
    """One request at the server. `taken_back` is set when live requests need its rows."""

    def __init__(self, turns: "Turns", sequences: int) -> None:
        self.sequences = sequences
        self.taken_back = asyncio.Event()
        self._turns = turns

    def leave(self) -> None:
        """A second call changes nothing."""
        self._turns.leave(self)


class Turns:
    def __init__(self, pace: Pace, observe: Callable[[int], Seen], *, clock: Callable[[], float]) -> None:
        """`observe` is given how many sequences of batches run."""
        self.pace = pace
        self.attribution = Attribution()
        self.taken_back = 0
        self._observe = observe
        self._clock = clock
        self._running: dict[Turn, None] = {}
        """In the order in which they began."""
        self._waiting: deque[tuple[int, asyncio.Future[Turn]]] = deque()
        self._has_work = asyncio.Event()

    @property
    def running_requests(self) -> int:
        return len(self._running)

    @property
    def running_sequences(self) -> int:
        return sum(turn.sequences for turn in self._running)

    async def take(self, sequences: int) -> Turn:
        """Returns a turn. Raises Leaving."""
        waiter: asyncio.Future[Turn] = asyncio.get_running_loop().create_future()
        self._waiting.append((sequences, waiter))
        self._has_work.set()
        try:
            self.look()
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                waiter.result().leave()
            raise
        finally:
            with suppress(ValueError):
                self._waiting.remove((sequences, waiter))

    def leave(self, turn: Turn) -> None:
        if turn in self._running:
            del self._running[turn]
            self.look()

    async def watch(self) -> None:
        """Looks again and again while there is batch work."""
        while True:
            await self._has_work.wait()
            while self._running or self._waiting:
                self.look()
                await asyncio.sleep(LOOK_SECONDS)
            self._has_work.clear()

    def batch_share(self) -> float:
        """Returns which part of what the server did lately was batches'."""
        running, now = self.running_sequences, self._clock()
        self.attribution.note(self._observe(running).live_running, running, now)
        return self.attribution.batch_share(now)

    def look(self) -> None:
        """Takes back what live requests need, and gives what turns there are."""
        now, running = self._clock(), self.running_sequences
        seen = self._observe(running)
        self.attribution.note(seen.live_running, running, now)
        if seen.leaving:
            self._refuse_all()
            return
        room = self.pace.look(seen, now)
        self._take_back(room)
        self._give(room.starts, seen)
        self.attribution.note(seen.live_running, self.running_sequences, now)

    def _refuse_all(self) -> None:
        while self._waiting:
            _, waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_exception(Leaving())

    def _take_back(self, room: Room) -> None:
        """Lets go of those that began last: they lose least."""
        over = sum(turn.sequences for turn in self._running if not turn.taken_back.is_set()) - room.most
        for turn in reversed(self._running):
            if over <= 0:
                return
            if not turn.taken_back.is_set():
                turn.taken_back.set()
                self.taken_back += 1
                over -= turn.sequences

    def _give(self, starts: int, seen: Seen) -> None:
        largest = max(seen.slots // LARGEST_PART, 1)
        while self._waiting and starts > 0:
            sequences = min(self._waiting[0][0], largest)
            if sequences > starts and self._running:
                return
            _, waiter = self._waiting.popleft()
            if waiter.done():
                continue
            turn = Turn(self, sequences)
            self._running[turn] = None
            self.pace.note_begun(sequences)
            starts -= sequences
            waiter.set_result(turn)


def read_figures(load: ServerLoad | None, number: int) -> Figures | None:
    if load is None:
        return None
    capacity = load.capacity_tokens_per_second
    return Figures(number, load.waiting, load.tokens_per_second / capacity if capacity else None)
