"""Keeps what the pods say of themselves, beside the reconciles: whoever needs a load takes what is known at once.

A pod that is silent or answers nonsense is asked less and less often, and holds up nobody: readings run side by side,
few of them for one model. A pod that does not answer is missing, never zero.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pagoda_guard.parsing import BadInput
from pagoda_guard.tasks import Tasks
from pagoda_operator.cluster.loads import read_load
from pagoda_operator.kube.pods import is_ready
from pagoda_operator.plan.loads import STALE_LOAD_SECONDS, Load

Pod = Mapping[str, Any]
Key = tuple[str, str]
"""Namespace and name of a ModelDeployment."""

TICK_SECONDS = 1.0
POLL_SECONDS = 5.0
MAXIMUM_POLL_SECONDS = 60.0
"""Between two questions to a pod that did not answer for long."""
READINGS = 128
"""That run at once."""
READINGS_OF_ONE_MODEL = 16
CAPACITY_NEWS = 0.05
"""A capacity that moved by more than this share is news."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Asked:
    """What is known of one ready pod."""

    due_at: float
    load: Load | None = None
    read_at: float = 0.0
    failures: int = 0
    reading: bool = False
    told_capacity: float | None = None


@dataclass(slots=True)
class LoadReader:
    """`models` gives the pods of each model, `on_news` is told of a model whose load or capacity became known."""

    port: int
    clock: Callable[[], float]
    jitter: Callable[[], float]
    tasks: Tasks
    models: Callable[[], Iterable[tuple[Key, Sequence[Pod]]]]
    on_news: Callable[[Key], None]
    read: Callable[[str, int], Awaitable[Load]] = read_load
    _asked: dict[str, _Asked] = field(default_factory=dict)
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(READINGS))
    _slots_of: dict[Key, asyncio.Semaphore] = field(default_factory=dict)

    async def run(self) -> None:
        while True:
            self.step()
            await asyncio.sleep(TICK_SECONDS)

    def step(self) -> None:
        """Starts the readings that are due, and forgets the pods that are no longer ready."""
        asked, slots = self._asked, self._slots_of
        self._asked, self._slots_of = {}, {}
        for key, pods in self.models():
            self._slots_of[key] = slots.get(key) or asyncio.Semaphore(READINGS_OF_ONE_MODEL)
            for pod in filter(_can_be_asked, pods):
                uid = pod["metadata"]["uid"]
                self._asked[uid] = asked.get(uid) or _Asked(due_at=self.clock())
                self._start_if_due(key, pod, self._asked[uid])

    def known(self, pods: Sequence[Pod]) -> dict[str, Load]:
        """Returns, by pod name, the last load of each ready pod that told one lately."""
        return {name: load for name, load, age in self._told(pods) if age <= STALE_LOAD_SECONDS}

    def has_stale(self, pods: Sequence[Pod]) -> bool:
        """Returns whether a ready pod that has told its load has been silent since."""
        return any(age > STALE_LOAD_SECONDS for _, _, age in self._told(pods))

    def _told(self, pods: Sequence[Pod]) -> Iterator[tuple[str, Load, float]]:
        """Yields the name, the last load and its age, of each ready pod that ever told one."""
        now = self.clock()
        for pod in filter(is_ready, pods):
            asked = self._asked.get(pod["metadata"]["uid"])
            if asked is not None and asked.load is not None:
                yield pod["metadata"]["name"], asked.load, now - asked.read_at

    def _start_if_due(self, key: Key, pod: Pod, state: _Asked) -> None:
        if not state.reading and state.due_at <= self.clock():
            state.reading = True
            self.tasks.spawn("load", self._read(key, pod, state, self._slots_of[key]))

    async def _read(self, key: Key, pod: Pod, state: _Asked, slots: asyncio.Semaphore) -> None:
        try:
            async with slots, self._slots:
                load = await self.read(pod["status"]["podIP"], self.port)
        except (BadInput, OSError, TimeoutError) as error:
            self._note_failure(key, pod, state, str(error) or type(error).__name__)
        except Exception as error:  # the boundary of one pod: whatever it made us do, it alone is unknown
            self._note_failure(key, pod, state, repr(error))
            raise
        else:
            self._note_load(key, pod, state, load)
        finally:
            state.reading = False

    def _note_failure(self, key: Key, pod: Pod, state: _Asked, error: str) -> None:
        state.failures += 1
        if state.failures == 1:
            about = (*key, pod["metadata"]["name"], error)
            log.warning("load is not known namespace=%s model=%s pod=%s error=%s", *about)
        self._ask_again(state, min(MAXIMUM_POLL_SECONDS, POLL_SECONDS * 2 ** min(state.failures - 1, 8)))

    def _note_load(self, key: Key, pod: Pod, state: _Asked, load: Load) -> None:
        if state.failures:
            log.info("load is known again namespace=%s model=%s pod=%s", *key, pod["metadata"]["name"])
        capacity = load.capacity_tokens_per_second
        news = state.load is None or state.failures > 0 or _differs(state.told_capacity, capacity)
        state.load, state.read_at, state.failures = load, self.clock(), 0
        self._ask_again(state, POLL_SECONDS)
        if news:
            state.told_capacity = capacity
            self.on_news(key)

    def _ask_again(self, state: _Asked, seconds: float) -> None:
        """Sets the next reading, spread, so that pods that became ready together are not asked together for ever."""
        state.due_at = self.clock() + seconds * (0.9 + 0.2 * self.jitter())


def _can_be_asked(pod: Pod) -> bool:
    return is_ready(pod) and bool(pod["status"].get("podIP"))


def _differs(told: float | None, new: float | None) -> bool:
    if told is None or new is None:
        return told is not new
    return abs(new - told) > CAPACITY_NEWS * told
