"""The compiled grammars that were used last, bounded by their number and by what they take."""

from collections import OrderedDict
from dataclasses import dataclass

from llguidance import LLMatcher

from pagoda_server.engine.constraint import FailedGrammar

MAX_KEPT = 512
MAX_KEPT_BYTES = 512 << 20
"""Of what the trials measured; a grammar that is followed grows by its lexer's states, which `LIMITS` bounds."""
LEAST_BYTES = 64 << 10
Key = tuple[str, str]
"""A grammar's notation and text."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """The matcher of which each request has a copy, or why there is none."""

    matcher: LLMatcher | None = None
    failure: FailedGrammar | None = None
    num_bytes: int = LEAST_BYTES


class Cache:
    def __init__(self) -> None:
        self._kept: OrderedDict[Key, Compiled] = OrderedDict()
        self._num_bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Key) -> Compiled | None:
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
        return found

    def put(self, key: Key, compiled: Compiled) -> None:
        """Keeps it, and drops the oldest where there are too many; the newest always stays."""
        self.drop(key)
        self._kept[key] = compiled
        self._num_bytes += compiled.num_bytes
        while len(self._kept) > MAX_KEPT or (self._num_bytes > MAX_KEPT_BYTES and len(self._kept) > 1):
            self.drop(next(iter(self._kept)))

    def drop(self, key: Key) -> None:
        dropped = self._kept.pop(key, None)
        self._num_bytes -= dropped.num_bytes if dropped else 0
