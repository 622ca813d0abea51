"""After any fault of the API server, and wherever the operator is killed, the world is the same as without it."""

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from pagoda_operator.cluster.client import ApiError
from tests.doubles.api_server import FakeApi

from .test_reconcile import Bench

Step = Callable[[Bench], None]
STORY: tuple[dict[str, Any], ...] = (
    {"autoscaling": {"maxReplicas": 4, "tokensPerSecond": 10}},
    {"replicas": 3, "rollout": {"drainSeconds": 9}},
    {"replicas": 1, "networkPolicy": {"enabled": False}},
)
MOST_WRITES = 14


class Killed(BaseException):
    """The process ends at this very write."""


async def settle(bench: Bench) -> None:
    for _ in range(6):
        await bench.reconcile()
        bench.now += 70.0
        bench.see()


async def told(fault: Callable[[int], ApiError | None]) -> list[dict[str, Any]]:
    """The specs at the end of the story; `fault` is asked before each write, by its number."""
    bench, count = Bench(**STORY[0]), 0

    def count_up(method: str, path: str) -> ApiError | None:
        nonlocal count
        count += 1
        return fault(count)

    bench.api.fault = count_up
    for spec in STORY:
        if spec is not STORY[0]:
            bench.edit(**spec)
        try:
            await settle(bench)
        except Killed:
            bench = restarted(bench.api, count_up)
            await settle(bench)
    return sorted((world(obj) for obj in bench.api.objects.values() if obj["kind"] != "Event"), key=str)


def restarted(api: FakeApi, fault: Callable[[str, str], ApiError | None]) -> Bench:
    """Another process: it knows nothing but what the API server has."""
    objects, api.fault = copy.deepcopy(api.objects), fault
    bench = Bench()
    bench.api.objects, bench.api._version, bench.api.fault = objects, api._version, fault
    bench.generation = max(o["metadata"]["generation"] for o in objects.values() if o["kind"] == "ModelDeployment")
    bench.reconciler.store.forget("ModelDeployment", "ns", "m", uid="u1")
    bench.see()
    return bench


def world(obj: dict[str, Any]) -> dict[str, Any]:
    conditions = obj.get("status", {}).get("conditions", [])
    said = [(c["type"], c["status"], c["reason"], c["message"]) for c in conditions]
    return {"kind": obj["kind"], "spec": obj["spec"], "said": said}


@pytest.mark.parametrize("status", [0, 409, 422, 429])
async def test_an_error_at_any_write_changes_nothing_in_the_end(status: int) -> None:
    wanted = await told(lambda write: None)
    for faulty in range(1, MOST_WRITES):
        given = ApiError(status, "fault", retry_after_seconds=30.0 if status == 429 else 0.0)
        assert await told({faulty: given}.get) == wanted


async def test_errors_at_every_second_write_change_nothing_in_the_end() -> None:
    wanted = await told(lambda write: None)
    assert await told(lambda write: ApiError(500, "fault") if write % 2 else None) == wanted


async def test_killed_at_any_write_the_next_process_makes_the_same_world() -> None:
    wanted = await told(lambda write: None)

    def kill(at: int, write: int) -> None:
        if write == at:
            raise Killed

    for last in range(1, MOST_WRITES):
        assert await told(partial(kill, last)) == wanted
