"""The items of a conversation: whatever was asked is put together as it came, and listed page by page."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagoda_gateway.errors import Refusal
from pagoda_gateway.responses.items import build_page, list_input
from pagoda_gateway.responses.question import build_whole, read_asked
from pagoda_gateway.responses.store import Kept
from pagoda_guard.parsing import BadInput

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(value).encode())


def test_a_text_is_one_message_of_the_user() -> None:
    (item,) = map(json.loads, list_input(raw('a "b" é')))
    assert item.pop("id").startswith("item_")
    assert item == {"type": "message", "role": "user", "content": [{"type": "input_text", "text": 'a "b" é'}]}


@given(st.lists(st.dictionaries(st.text(max_size=4), JSON, max_size=4), max_size=4))
def test_items_stay_as_they_are_but_for_an_id(items: list[dict[str, Any]]) -> None:
    read = [json.loads(item) for item in list_input(raw(items))]
    for before, after in zip(items, read, strict=True):
        if isinstance(before.get("id"), str) and before["id"]:
            assert after == before
        else:
            assert {**after, "id": before.get("id")} == {**before, "id": before.get("id")}


@pytest.mark.parametrize("value", [5, None, {}, ["text"], [[]], True])
def test_what_is_neither_is_bad_input(value: Any) -> None:
    with pytest.raises(BadInput):
        list_input(raw(value))


@given(JSON)
def test_any_body_is_read(value: Any) -> None:
    try:
        asked = read_asked(json.dumps(value).encode())
    except Refusal as refusal:
        assert refusal.param == "input" and isinstance(value, dict)
        return
    assert asked.previous is None or value["previous_response_id"] == asked.previous


@pytest.mark.parametrize(
    ("fields", "is_kept"), [({}, True), ({"store": True}, True), ({"store": None}, True), ({"store": False}, False)]
)
def test_an_answer_is_kept_unless_its_client_says_no(fields: dict[str, Any], is_kept: bool) -> None:
    assert read_asked(json.dumps({"input": "x", **fields}).encode()).is_kept is is_kept


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"input": 5}', b'{"input": "x", "previous_response_id": 5}'])
def test_what_is_wrong_is_the_servers_to_say_and_is_not_kept(body: bytes) -> None:
    asked = read_asked(body)
    assert (asked.previous, asked.is_kept) == (None, False)


def test_the_whole_conversation_is_what_was_asked_and_answered_in_order() -> None:
    first = Kept("r1", None, (b'{"id":"i1"}',), b'{"output": [{"id": "o1"}, {"id": "o2"}]}')
    second = Kept("r2", "r1", (b'{"id":"i2"}',), b'{"output": []}')
    body = {"model": "m", "previous_response_id": "r2", "input": [{"id": "i3"}], "temperature": 0.5}
    whole = json.loads(build_whole(read_asked(json.dumps(body).encode()), [first, second]))
    assert whole.pop("input") == [{"id": name} for name in ("i1", "o1", "o2", "i2", "i3")]
    assert whole == {"model": "m", "temperature": 0.5}


def test_a_page_says_whether_there_are_more() -> None:
    items = [json.dumps({"id": f"i{number}"}).encode() for number in range(5)]
    page = json.loads(build_page(items, limit=2, after=None, descends=True))
    assert ([item["id"] for item in page["data"]], page["has_more"]) == (["i4", "i3"], True)
    page = json.loads(build_page(items, limit=3, after="i1", descends=False))
    assert (page["first_id"], page["last_id"], page["has_more"]) == ("i2", "i4", False)
    with pytest.raises(KeyError):
        build_page(items, limit=3, after="other", descends=False)
    empty = json.loads(build_page([], limit=3, after=None, descends=True))
    assert empty == {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}
