"""Kept answers stay within every bound, and nobody reads what another tenant made."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagoda_gateway.responses.store import OVERHEAD_BYTES, Bounds, Kept, MemoryResponses
from tests.doubles.clock import Clock


def build(clock: Clock | None = None, **bounds: float) -> MemoryResponses:
    values = {"count": 4, "total_bytes": 100_000, "seconds": 60.0, **bounds}
    return MemoryResponses(Bounds(**values), clock=clock or Clock(0.0))  # type: ignore[arg-type]


def keep(store: MemoryResponses, *ids: str, tenant: str = "a", size: int = 0) -> None:
    """Keeps a conversation: each answer was made from the one before it."""
    for previous, response_id in zip((None, *ids), ids, strict=False):
        store.put(tenant, Kept(response_id, previous, (b"[]",), b"x" * size))


def list_ids(chain: Sequence[Kept] | None) -> list[str]:
    return [kept.id for kept in chain or ()]


def test_a_conversation_is_listed_from_its_first_answer() -> None:
    store = build()
    keep(store, "1", "2", "3")
    assert list_ids(store.list_chain("a", "3")) == ["1", "2", "3"]
    assert list_ids(store.list_chain("a", "2")) == ["1", "2"]
    assert store.list_chain("a", "4") is None


def test_nobody_reads_or_deletes_what_another_tenant_made() -> None:
    store = build()
    keep(store, "1")
    assert (store.get("b", "1"), store.list_chain("b", "1"), store.delete("b", "1")) == (None, None, False)
    keep(store, "1", tenant="b", size=9)
    assert store.get("a", "1") != store.get("b", "1")


def test_a_deleted_answer_takes_those_made_from_it_out_of_use() -> None:
    store = build()
    keep(store, "1", "2")
    assert store.delete("a", "1") and not store.delete("a", "1")
    assert store.list_chain("a", "2") is None
    assert store.get("a", "2") is not None and store.count == 1


def test_the_conversation_that_nobody_went_on_with_goes_first_and_its_last_answer_first() -> None:
    store = build(count=4)
    keep(store, "1", "2")
    keep(store, "x", "y")
    assert store.list_chain("a", "2")
    keep(store, "new")
    assert store.get("a", "y") is None and store.get("a", "x") is not None
    assert list_ids(store.list_chain("a", "2")) == ["1", "2"]


def test_an_answer_goes_when_nobody_has_used_it_for_so_long() -> None:
    clock = Clock(0.0)
    store = build(clock, seconds=60)
    keep(store, "1", "2")
    keep(store, "other")
    clock.now = 50.0
    assert store.list_chain("a", "2")
    clock.now = 100.0
    store.sweep()
    assert store.count == 2 and list_ids(store.list_chain("a", "2")) == ["1", "2"]
    clock.now = 161.0
    store.sweep()
    assert (store.count, store.bytes) == (0, 0)


def test_one_tenant_of_several_has_no_more_than_its_share() -> None:
    store = build(count=8, tenant_share=0.5)
    keep(store, "quiet", tenant="b")
    for number in range(20):
        keep(store, str(number))
    assert store.count == 5 and store.get("b", "quiet") is not None


def test_an_answer_that_is_larger_than_all_there_is_room_for_lets_none_go() -> None:
    store = build(total_bytes=10_000)
    keep(store, "1", size=100)
    keep(store, "2", size=20_000)
    assert (store.count, store.get("a", "2")) == (1, None)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["put", "get", "delete", "wait"]),
            st.sampled_from("abc"),
            st.integers(0, 9),
            st.integers(0, 9),
        ),
        max_size=60,
    ),
    st.sampled_from([1.0, 0.5]),
)
def test_counts_are_what_is_there_and_within_the_bounds(
    steps: list[tuple[str, str, int, int]], tenant_share: float
) -> None:
    clock = Clock(0.0)
    store = build(clock, count=5, total_bytes=4000, tenant_share=tenant_share)
    for action, tenant, number, other in steps:
        if action == "put":
            previous = None if other == number else str(other)
            store.put(tenant, Kept(str(number), previous, (b"i" * other,), b"x" * (number * 100)))
        elif action == "get":
            store.list_chain(tenant, str(number))
        elif action == "delete":
            store.delete(tenant, str(number))
        else:
            clock.now += number * 10
        there = [kept for name in "abc" for one in range(10) if (kept := store.get(name, str(one)))]
        assert (store.count, store.bytes) == (len(there), sum(kept.size for kept in there))
        assert store.count <= 5 and store.bytes <= 4000


def test_answers_that_name_each_other_are_no_conversation_and_no_endless_one() -> None:
    store = build()
    store.put("a", Kept("1", "2", (), b""))
    store.put("a", Kept("2", "1", (), b""))
    assert store.list_chain("a", "1") is None


@pytest.mark.parametrize("count", [0, 1])
def test_a_share_of_less_than_one_answer_is_none(count: int) -> None:
    store = build(count=count, tenant_share=0.5)
    keep(store, "1")
    assert store.count == 0 and Kept("1", None, (), b"").size == OVERHEAD_BYTES
