"""The one place that starts tasks, so that none of them ends unnoticed.

Three kinds: a loop that is started again when it fails (`keep`), a part without which the program is of no use
(`watch`, whose end `wait_failed` tells), and something short that nobody waits for (`spawn`). Whatever ends by an
exception is logged and counted. What the caller itself awaits is started by `begin`: its exceptions are the caller's.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

log = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0
STEADY_SECONDS = 60.0
"""A loop that ran for so long is started again after the shortest pause."""

T = TypeVar("T")


def begin(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Starts a task that the caller awaits or cancels before it goes on."""
    return asyncio.get_running_loop().create_task(work)


class TaskEnded(Exception):
    """A part of the program has ended that must not; the message names it, the cause says why."""


class Tasks:
    """The tasks of one program or one part of it. `count` is told the name of whatever ended by an exception."""

    def __init__(
        self,
        *,
        count: Callable[[str], None] = lambda name: None,
        first_pause_seconds: float = FIRST_PAUSE_SECONDS,
        longest_pause_seconds: float = LONGEST_PAUSE_SECONDS,
    ) -> None:
        self._count = count
        self._first_pause_seconds = first_pause_seconds
        self._longest_pause_seconds = longest_pause_seconds
        self._tasks: set[asyncio.Task[Any]] = set()
        self._failed: tuple[str, BaseException | None] | None = None
        self._has_failed = asyncio.Event()
        self._stopping = False

    def keep(
        self, name: str, run: Callable[[], Awaitable[None]], *, expected: tuple[type[Exception], ...] = ()
    ) -> asyncio.Task[None]:
        """Runs `run()`, and again after a growing pause whenever it ends by an exception, until it returns.

        Those that are `expected` come from outside: they are logged without a traceback.
        """
        return self._start(name, self._run_again(name, run, expected))

    def watch(self, name: str, part: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Starts a part that must not end before `stop`: `wait_failed` raises when it does."""
        task = self._start(name, part)
        task.add_done_callback(lambda ended: self._note_end(name, ended))
        return task

    def spawn(self, name: str, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Starts something that ends by itself. It is held until then: the event loop alone would not."""
        task = self._start(name, work)
        task.add_done_callback(lambda ended: self._note_failure(name, ended))
        return task

    async def wait_failed(self) -> None:
        """Waits for the end of a watched part and raises `TaskEnded`."""
        await self._has_failed.wait()
        assert self._failed is not None
        name, error = self._failed
        raise TaskEnded(f"{name} ended: {error!r}" if error else f"{name} ended") from error

    async def stop(self) -> None:
        """Cancels all tasks and waits for them."""
        self._stopping = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self, name: str, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _run_again(
        self, name: str, run: Callable[[], Awaitable[None]], expected: tuple[type[Exception], ...]
    ) -> None:
        clock = asyncio.get_running_loop().time
        pause = self._first_pause_seconds
        while True:
            began = clock()
            try:
                return await run()
            except Exception as error:
                if clock() - began >= STEADY_SECONDS:
                    pause = self._first_pause_seconds
                log.error(
                    "task failed and is started again name=%s again_in=%.1f error=%r",
                    name,
                    pause,
                    error,
                    exc_info=not isinstance(error, expected),
                )
                self._count(name)
            await asyncio.sleep(pause)
            pause = min(2 * pause, self._longest_pause_seconds)

    def _note_end(self, name: str, task: asyncio.Task[Any]) -> None:
        if self._stopping or task.cancelled():
            return
        self._note_failure(name, task)
        if self._failed is None:
            self._failed = name, task.exception()
            self._has_failed.set()

    def _note_failure(self, name: str, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("task failed name=%s error=%r", name, error, exc_info=error)
            self._count(name)
