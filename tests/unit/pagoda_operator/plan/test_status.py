"""The capacity in the status: a start's measurement only raises it, what full pods observe moves it both ways."""

from datetime import UTC, datetime
from typing import Any

import pytest

from pagoda_operator.plan.loads import Load
from pagoda_operator.plan.revision import capacity_key
from pagoda_operator.plan.status import plan_capacity
from pagoda_operator.plan.world import world_of

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def find_capacity(before: tuple[float, str], new: tuple[float, str], *, other_key: bool = False) -> tuple[Any, Any]:
    spec: dict[str, Any] = {"model": {"uri": "bundled://pagoda-tiny"}}
    raw = {
        "apiVersion": "pagoda.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": "chat", "namespace": "team", "uid": "u", "generation": 1},
        "spec": spec,
    }
    mdep = world_of(raw).mdep
    assert mdep is not None
    key = "another" if other_key else capacity_key(mdep)
    figure = {"tokensPerSecond": before[0], "source": before[1], "measuredAt": "2026-01-01T00:00:00Z", "key": key}
    world = world_of({**raw, "status": {"capacity": figure}}, load=Load(1.0, 1.0, *new))
    capacity = plan_capacity(world, mdep, NOW)
    assert capacity is not None
    return capacity["tokensPerSecond"], capacity["source"]


@pytest.mark.parametrize("source", ["measured", "observed"])
def test_a_pod_that_starts_on_a_busy_node_does_not_lower_the_capacity(source: str) -> None:
    assert find_capacity((1589.0, source), (18.0, "measured")) == (1589.0, source)


@pytest.mark.parametrize("source", ["measured", "observed"])
def test_a_faster_start_raises_it(source: str) -> None:
    assert find_capacity((18.0, source), (1589.0, "measured")) == (1589.0, "measured")


@pytest.mark.parametrize("rate", [700.0, 2000.0])
def test_full_pods_move_it_both_ways(rate: float) -> None:
    assert find_capacity((1589.0, "measured"), (rate, "observed")) == (rate, "observed")


def test_another_model_or_hardware_begins_anew() -> None:
    assert find_capacity((1589.0, "observed"), (18.0, "measured"), other_key=True) == (18.0, "measured")
