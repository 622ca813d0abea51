"""The response that is to be kept is found in whatever pieces its answer comes, and nothing else is taken for one."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagoda_gateway.responses.capture import Capture

RESPONSE = {"id": "resp_1", "output": [{"text": "a\nb é"}]}
EVENTS = [
    b'event: response.created\ndata: {"type": "response.created", "response": {"id": "resp_1"}}\n\n',
    b": ping\n\n",
    b'event: response.output_text.delta\ndata: {"delta": "\\nevent: response.completed\\ndata: {}"}\n\n',
    b"event: response.completed\ndata: " + json.dumps({"response": RESPONSE}).encode() + b"\n\n",
    b"data: [DONE]\n\n",
]
STREAM = b"".join(EVENTS)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    borders = [0, *sorted({place % (len(data) + 1) for place in places}), len(data)]
    return [data[a:b] for a, b in zip(borders, borders[1:], strict=False)]


def capture(pieces: list[bytes], *, ends: bool = True, limit: int = 10_000, **kind: bool) -> list[object]:
    kept: list[object] = []
    options = {"is_stream": True, "is_chunked": False} | kind
    one = Capture(**options, limit_bytes=limit, keep=lambda raw: kept.append(json.loads(raw)))
    for piece in pieces:
        one.take(piece)
    if ends:
        one.finish()
    return kept


@given(st.lists(st.integers(0, len(STREAM)), max_size=30), st.booleans())
def test_the_last_event_of_a_stream_is_found_in_any_pieces(places: list[int], is_chunked: bool) -> None:
    data = b"".join(b"%x\r\n%b\r\n" % (len(event), event) for event in EVENTS) if is_chunked else STREAM
    assert capture(cut(data, places), is_chunked=is_chunked, ends=False) == [RESPONSE]


@given(st.lists(st.integers(0, 100), max_size=9))
def test_an_answer_that_is_no_stream_is_kept_once_it_has_ended(places: list[int]) -> None:
    pieces = cut(json.dumps(RESPONSE).encode(), places)
    assert capture(pieces, is_stream=False) == [RESPONSE]
    assert capture(pieces, is_stream=False, ends=False) == []


def test_incomplete_is_kept_too_and_carriage_returns_change_nothing() -> None:
    stream = STREAM.replace(b'response.completed\ndata: {"r', b'response.incomplete\ndata: {"r').replace(b"\n", b"\r\n")
    assert capture([stream]) == [RESPONSE]


@pytest.mark.parametrize(
    "stream",
    [
        b"".join(EVENTS[:3]),
        STREAM[: STREAM.index(b"[DONE]") - 10],
        b'event: response.failed\ndata: {"response": {}}\n\n',
        b"event: response.completed\ndata: no json\n\n",
        b"event: response.completed\ndata: {}\n\n",
        b"event: response.completed\n\n",
        b"",
    ],
)
def test_a_stream_without_its_last_event_is_no_response(stream: bytes) -> None:
    assert capture([stream]) == []


def test_what_is_longer_than_it_may_be_is_let_go_at_once() -> None:
    long = b'event: response.completed\ndata: {"response": {"x": "' + b"y" * 500
    kept = capture([long, b'"}}\n\n'], limit=100)
    assert kept == [] and capture([b"{" + b" " * 200, b"}"], limit=100, is_stream=False) == []


def test_chunks_that_make_no_sense_are_no_response() -> None:
    assert capture([b"no size\r\n" + STREAM], is_chunked=True) == []
