"""The load of a model is known when every ready pod has told it; the capacity is what full pods saw."""

from dataclasses import replace

from pagoda_operator.cluster.loads import Load
from pagoda_operator.controller.observe import sum_loads


def load(capacity: float | None, source: str = "measured") -> Load:
    return Load(10.0, 12.0, capacity, source, 0.0, 1, 0, 0)


def test_a_silent_pod_makes_the_load_unknown() -> None:
    assert sum_loads(2, {"a": load(100.0)}) is None
    assert sum_loads(0, {}) is None


def test_rates_add_up_and_the_capacity_is_of_one() -> None:
    found = sum_loads(2, {"a": load(100.0), "b": load(200.0)})
    assert found is not None
    assert (found.tokens_per_second, found.capacity_tokens_per_second, found.capacity_source) == (20, 150, "measured")


def test_what_full_pods_observed_is_not_masked_by_a_fresh_pod() -> None:
    found = sum_loads(3, {"a": load(100.0, "observed"), "b": load(120.0, "observed"), "c": load(900.0)})
    assert found is not None
    assert (found.capacity_tokens_per_second, found.capacity_source) == (110, "observed")


def test_a_capacity_nobody_knows_is_unknown() -> None:
    found = sum_loads(1, {"a": load(None)})
    assert found is not None and found.capacity_tokens_per_second is None and found.capacity_source is None


def test_a_sum_is_as_old_as_its_oldest_part() -> None:
    found = sum_loads(2, {"a": load(100.0), "b": replace(load(100.0), age_seconds=7.0)})
    assert found is not None and found.age_seconds == 7.0
