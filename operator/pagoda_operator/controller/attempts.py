"""When an object may be written again that the API server refused: each by itself, after a doubling time.

It keeps the refusal meanwhile, so that the status goes on saying it. Another wish (the spec was edited) is tried at
once. What passes by itself (a conflict, an overload) is said only when it does not.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

from pagoda_operator.cluster.client import ApiError
from pagoda_operator.controller.store import Id

FIRST_SECONDS = 0.5
MAXIMUM_SECONDS = 60.0
UNSAID_ATTEMPTS = 2
"""How often an error that may pass by itself is not mentioned."""
_PASSING = {0, 404, 408, 409, 429}


@dataclass(frozen=True, slots=True)
class Failure:
    wish: str
    message: str
    status: int
    attempts: int
    due_at: float

    @property
    def is_worth_saying(self) -> bool:
        passes = self.status in _PASSING or self.status >= 500
        return not passes or self.attempts > UNSAID_ATTEMPTS


class Attempts:
    def __init__(self, *, clock: Callable[[], float], jitter: Callable[[], float] = random.random) -> None:
        """Remembers nothing yet. `jitter` returns numbers in [0, 1)."""
        self._clock, self._jitter = clock, jitter
        self._failures: dict[Id, Failure] = {}

    def standing(self, id_: Id, wish: str) -> Failure | None:
        """Returns the failure that is not to be tried again yet, if there is one."""
        failure = self._failures.get(id_)
        return failure if failure is not None and failure.wish == wish and self._clock() < failure.due_at else None

    def failed(self, id_: Id, wish: str, error: ApiError, message: str) -> tuple[Failure, bool]:
        """Notes a failure; returns it, and whether it is news."""
        before = self._failures.get(id_)
        attempts = before.attempts + 1 if before is not None and before.wish == wish else 1
        pause = min(MAXIMUM_SECONDS, FIRST_SECONDS * 2.0 ** min(attempts - 1, 16)) * (1 + self._jitter() / 2)
        due_at = self._clock() + max(pause, error.retry_after_seconds)
        failure = self._failures[id_] = Failure(wish, message, error.status, attempts, due_at)
        return failure, before is None or before.message != message

    def succeeded(self, id_: Id) -> None:
        self._failures.pop(id_, None)

    def seconds_left(self, failure: Failure) -> float:
        return max(0.0, failure.due_at - self._clock())

    def forget(self, namespace: str, name: str) -> None:
        """Forgets a ModelDeployment that is gone, and its children, whose names begin with its own."""
        gone = [id_ for id_ in self._failures if id_[1] == namespace and id_[2] in (name, f"{name}-models")]
        for id_ in gone:
            del self._failures[id_]
