"""The load of a model is known when every ready pod has told it; the capacity is what full pods saw."""

from random import Random
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagoda_operator.plan.loads import Load, find_capacity, sum_loads


def load(capacity: float | None, source: str = "measured") -> Load:
    return Load(10.0, 12.0, capacity, source)


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


CAPACITIES = st.none() | st.floats(min_value=0.1, max_value=1e15)
LOADS = st.lists(st.builds(load, CAPACITIES, st.sampled_from(["measured", "observed"])), max_size=8)


@given(LOADS, st.randoms(use_true_random=False))
def test_the_capacity_of_one_pod_is_the_mean_of_those_that_can_tell(loads: list[Load], random: Random) -> None:
    capacity, source = find_capacity(loads)
    told = [one for one in loads if one.capacity_tokens_per_second is not None]
    judged = [one for one in told if one.capacity_source == "observed"] or told
    assert (capacity is None) == (source is None) == (not told)
    if capacity is not None:
        figures = [one.capacity_tokens_per_second or 0.0 for one in judged]
        assert capacity == fmean(figures) and {one.capacity_source for one in judged} == {source}
        assert min(figures) * (1 - 1e-9) <= capacity <= max(figures) * (1 + 1e-9)
    random.shuffle(loads)
    assert find_capacity(loads) == (capacity, source), "in whatever order they tell"


@given(LOADS)
def test_a_pod_that_cannot_tell_its_capacity_changes_none(loads: list[Load]) -> None:
    assert find_capacity([*loads, load(None), load(None, "observed")]) == find_capacity(loads)


@given(CAPACITIES, st.integers(1, 8))
def test_equal_pods_have_the_capacity_of_each(capacity: float | None, pods: int) -> None:
    found = sum_loads(pods, {str(pod): load(capacity) for pod in range(pods)})
    assert found is not None and found.tokens_per_second == 10 * pods
    assert found.capacity_tokens_per_second == (None if capacity is None else pytest.approx(capacity))
