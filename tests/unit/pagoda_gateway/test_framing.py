import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagoda_gateway.framing import Body, KeptChunks, Plain, StrippedChunks, WrappedInChunks, build_body

PIECES = st.lists(st.binary(min_size=1, max_size=40), max_size=6)
LAST = b"0\r\nX-Trailer: 1\r\nX-Other: 2\r\n\r\n"
CUTS = st.lists(st.integers(0, 300), max_size=12)


def frame(pieces: list[bytes]) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


def feed_split(body: Body, data: bytes, cuts: list[int]) -> bytes:
    """Fed in buffers that end wherever chance says; nothing may be called ended before its last byte was there."""
    bounds = [0, *sorted({cut for cut in cuts if 0 < cut < len(data)}), len(data)]
    out = b""
    for begin, end in zip(bounds, bounds[1:], strict=False):
        assert not body.ended
        out += body.feed(data[begin:end])
    return out


@given(PIECES, CUTS)
def test_kept_chunks_are_the_servers_bytes_without_the_last(pieces: list[bytes], cuts: list[int]) -> None:
    body = KeptChunks()
    assert feed_split(body, frame(pieces) + LAST, cuts) == frame(pieces)
    assert body.ended and not body.torn


@given(PIECES, CUTS)
def test_stripped_chunks_are_what_is_in_them(pieces: list[bytes], cuts: list[int]) -> None:
    body = StrippedChunks()
    assert feed_split(body, frame(pieces) + LAST, cuts) == b"".join(pieces)
    assert body.ended


@given(PIECES, st.integers(0, 300))
def test_kept_chunks_are_torn_exactly_inside_a_chunk(pieces: list[bytes], cut: int) -> None:
    body = KeptChunks()
    handed_on = body.feed(frame(pieces)[:cut]) if pieces and cut else b""
    ends = [len(frame(pieces[:count])) for count in range(len(pieces) + 1)]
    assert body.torn == (len(handed_on) not in ends)


@pytest.mark.parametrize("kind", [KeptChunks, StrippedChunks])
@pytest.mark.parametrize("data", [b"x\r\n", b"-1\r\n", b"0x5\r\nhello\r\n", b"\r\n", b"1" * 300, b"2\r\nabc\r\n0\r\n"])
def test_chunk_without_a_size_is_refused(kind: type[KeptChunks | StrippedChunks], data: bytes) -> None:
    with pytest.raises(ValueError, match="no size"):
        kind().feed(data)


@pytest.mark.parametrize("kind", [KeptChunks, StrippedChunks])
def test_closing_ends_chunks_only_after_the_last(kind: type[KeptChunks | StrippedChunks]) -> None:
    body = kind()
    body.feed(b"2\r\nab\r\n")
    body.feed_eof()
    assert not body.ended
    body.feed(b"0\r\n")
    assert not body.ended
    body.feed_eof()
    assert body.ended


def test_what_follows_the_last_chunk_is_dropped() -> None:
    for body in (KeptChunks(), StrippedChunks()):
        assert b"X-Trailer" not in body.feed(b"1;note\r\na\r\n0\r\nX-Trailer: 1\r\n\r\n")
        assert body.ended


def test_counted_body_ends_at_its_length() -> None:
    body = Plain(5)
    assert (body.feed(b"abc"), body.ended) == (b"abc", False)
    body.feed_eof()
    assert not body.ended
    assert (body.feed(b"defg"), body.ended) == (b"de", True)


def test_empty_body_has_ended() -> None:
    assert Plain(0).ended and WrappedInChunks(Plain(0)).ended


def test_body_without_a_length_ends_with_its_connection() -> None:
    for body in (Plain(None), WrappedInChunks(Plain(None))):
        body.feed(b"abc")
        assert not body.ended
        body.feed_eof()
        assert body.ended


@pytest.mark.parametrize("as_chunks", [True, False])
@pytest.mark.parametrize("chunked", [True, False])
def test_every_framing_reaches_every_reader(chunked: bool, as_chunks: bool) -> None:
    body = build_body(chunked=chunked, length=None if chunked else 4, as_chunks=as_chunks)
    sent = b"4\r\ndata\r\n0\r\n\r\n" if chunked else b"data"
    assert body.feed(sent) == (b"4\r\ndata\r\n" if as_chunks else b"data")
    assert body.ended
