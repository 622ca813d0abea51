"""Loads are read beside everything else: what is known is there at once, and the silent hold up nobody."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from pagoda_guard.parsing import BadInput
from pagoda_guard.tasks import Tasks
from pagoda_operator.controller.load_reader import MAXIMUM_POLL_SECONDS, POLL_SECONDS, READINGS_OF_ONE_MODEL, LoadReader
from pagoda_operator.plan.loads import STALE_LOAD_SECONDS, Load

A, B = ("ns", "a"), ("ns", "b")


def load(capacity: float | None = None) -> Load:
    return Load(10.0, 12.0, capacity, "measured")


def pod(name: str, *, ready: bool = True) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    return {"metadata": {"name": name, "uid": name}, "status": {"podIP": name, "conditions": conditions}}


class World:
    """Pods that answer as the test says, and a clock that it turns."""

    def __init__(self) -> None:
        self.now = 100.0
        self.models: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self.answers: dict[str, Callable[[], Any]] = {}
        self.asked: list[str] = []
        self.news: list[tuple[str, str]] = []
        self.counted: list[str] = []
        self.silence = asyncio.Event()
        self.reader = LoadReader(
            port=1,
            clock=lambda: self.now,
            jitter=lambda: 0.5,
            tasks=Tasks(count=self.counted.append),
            models=lambda: list(self.models.items()),
            on_news=self.news.append,
            read=self.read,
        )

    async def read(self, ip: str, _: int) -> Load:
        self.asked.append(ip)
        answer = self.answers.get(ip, load)()
        if answer is None:
            await self.silence.wait()
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, Load)
        return answer

    async def step(self, after_seconds: float = 0.0) -> None:
        self.now += after_seconds
        self.reader.step()
        for _ in range(20):
            await asyncio.sleep(0)


@pytest.fixture
async def world() -> World:
    return World()


async def test_what_is_known_is_given_without_waiting(world: World) -> None:
    world.models = {A: [pod("a1"), pod("a2", ready=False)]}
    assert world.reader.known(world.models[A]) == {}
    await world.step()
    world.now += 3
    assert world.reader.known(world.models[A]) == {"a1": load()}
    assert not world.reader.has_stale(world.models[A])


async def test_sixty_silent_pods_hold_up_nobody_else(world: World) -> None:
    world.models = {A: [pod(f"a{i}") for i in range(60)], B: [pod("b")]}
    world.answers = {f"a{i}": lambda: None for i in range(60)}
    await world.step()
    assert set(world.reader.known(world.models[B])) == {"b"}
    assert sum(name.startswith("a") for name in world.asked) == READINGS_OF_ONE_MODEL
    await world.step(POLL_SECONDS * 1.1)
    assert world.asked.count("b") == 2
    world.silence.set()


async def test_a_silent_pod_is_asked_less_and_less_often(world: World) -> None:
    world.models = {A: [pod("a")]}
    world.answers["a"] = lambda: TimeoutError()
    times = []
    for _ in range(400):
        before = len(world.asked)
        await world.step(1.0)
        if len(world.asked) > before:
            times.append(world.now)
    pauses = [after - before for before, after in zip(times, times[1:], strict=False)]
    assert pauses[:4] == [5, 10, 20, 40] and set(pauses[4:]) == {MAXIMUM_POLL_SECONDS}


async def test_a_figure_that_is_old_is_as_good_as_none(world: World) -> None:
    world.models = {A: [pod("a")]}
    await world.step()
    world.now += STALE_LOAD_SECONDS - 0.1
    assert set(world.reader.known(world.models[A])) == {"a"} and not world.reader.has_stale(world.models[A])
    world.now += 0.2
    assert world.reader.known(world.models[A]) == {} and world.reader.has_stale(world.models[A])


async def test_an_answer_ends_the_back_off_and_an_old_figure_only_ages(world: World) -> None:
    world.models = {A: [pod("a")]}
    await world.step()
    world.answers["a"] = lambda: BadInput("no")
    await world.step(POLL_SECONDS * 1.1)
    world.now += STALE_LOAD_SECONDS - POLL_SECONDS * 1.1
    assert set(world.reader.known(world.models[A])) == {"a"}
    world.now += 0.1
    assert world.reader.known(world.models[A]) == {}
    del world.answers["a"]
    await world.step()
    assert set(world.reader.known(world.models[A])) == {"a"}


async def test_a_pod_that_was_away_is_asked_at_once_when_it_is_ready_again(world: World) -> None:
    world.models = {A: [pod("a")]}
    world.answers["a"] = lambda: TimeoutError()
    for _ in range(3):
        await world.step(MAXIMUM_POLL_SECONDS)
    world.models = {A: [pod("a", ready=False)]}
    await world.step(1)
    del world.answers["a"]
    world.models = {A: [pod("a")]}
    await world.step(1)
    assert "a" in world.reader.known(world.models[A])


async def test_the_model_is_told_of_the_first_figure_and_of_another_capacity_only(world: World) -> None:
    world.models = {A: [pod("a")]}
    for capacity, news in ((None, 1), (None, 1), (100.0, 2), (104.0, 2), (106.0, 3), (106.0, 3)):
        world.answers["a"] = partial(load, capacity)
        await world.step(POLL_SECONDS * 1.1)
        assert len(world.news) == news, capacity
    assert set(world.news) == {A}


async def test_whatever_one_pod_provokes_it_alone_is_unknown(world: World) -> None:
    world.models = {A: [pod("a")], B: [pod("b")]}
    world.answers["a"] = lambda: RecursionError("deep")
    await world.step()
    assert world.reader.known(world.models[A]) == {} and "b" in world.reader.known(world.models[B])
    assert world.counted == ["load"], "a fault of ours is counted"
    del world.answers["a"]
    await world.step(POLL_SECONDS * 1.1)
    assert "a" in world.reader.known(world.models[A])
