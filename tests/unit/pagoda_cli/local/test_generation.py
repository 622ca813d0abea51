"""The replicas of a version start together, and fail together."""

import asyncio
from typing import cast

import pytest

from pagoda_cli.local.generation import Generation
from pagoda_cli.local.pod import LocalPod
from pagoda_cli.local.replica import Replica, StartError


class Waiting:
    """A replica that would wait for ever."""

    def __init__(self) -> None:
        self.began, self.was_left = asyncio.Event(), False

    async def start(self) -> None:
        self.began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.was_left = True
            raise


class Hopeless:
    def __init__(self, after: asyncio.Event) -> None:
        self._after = after

    async def start(self) -> None:
        await self._after.wait()
        raise StartError("server: refused")


async def test_nobody_is_waited_for_when_one_never_will_be_ready() -> None:
    waiting = Waiting()
    replicas = cast(tuple[Replica, ...], (waiting, Hopeless(waiting.began)))
    generation = Generation(LocalPod("a", "bundled://a", "a", 2, 1, {}), replicas, None)
    with pytest.raises(StartError, match="server: refused"):
        await asyncio.wait_for(generation.start(), 30)
    assert waiting.was_left
