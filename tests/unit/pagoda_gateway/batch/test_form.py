import asyncio
from collections.abc import Sequence

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagoda_gateway.batch.form import (
    HEAD_LIMIT_BYTES,
    PARTS_LIMIT,
    BadForm,
    FormReader,
    PartBegins,
    PartData,
    PartEnds,
    read_boundary,
)

Parts = list[tuple[str, str | None, bytes]]


def build_form(parts: Sequence[tuple[str, str | None, bytes]], boundary: str = "b") -> bytes:
    form = b""
    for name, filename, data in parts:
        more = f'; filename="{filename}"' if filename is not None else ""
        form += f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + data + b"\r\n"
    return form + f"--{boundary}--\r\n".encode()


def read_form(pieces: Sequence[bytes], boundary: bytes = b"b") -> Parts:
    reader, parts, data = FormReader(boundary), Parts(), b""
    for piece in pieces:
        for event in reader.feed(piece):
            if isinstance(event, PartBegins):
                parts.append((event.name, event.filename, b""))
                data = b""
            elif isinstance(event, PartData):
                data += event.data
            else:
                assert isinstance(event, PartEnds)
                parts[-1] = (*parts[-1][:2], data)
    reader.close()
    return parts


contents = st.lists(st.sampled_from([b"\r\n", b"--", b"b", b"--b", b"\r\n--", b"x", b"\r", b"\n", b"\x00"]), max_size=8)


@given(
    datas=st.lists(contents.map(b"".join).filter(lambda data: b"\r\n--b" not in b"\r\n" + data), max_size=4),
    cuts=st.lists(st.integers(0, 400), max_size=12),
)
def test_however_a_form_is_cut_its_parts_are_the_same(datas: list[bytes], cuts: list[int]) -> None:
    parts: Parts = [(f"n{index}", "f.jsonl" if index else None, data) for index, data in enumerate(datas)]
    form = build_form(parts)
    places = sorted({0, len(form), *(cut for cut in cuts if cut < len(form))})
    pieces = [form[start:end] for start, end in zip(places, places[1:], strict=False)]
    assert read_form(pieces) == parts


@given(st.lists(contents.map(b"".join), max_size=6))
def test_any_bytes_are_a_form_or_a_bad_form(pieces: list[bytes]) -> None:
    try:
        read_form(pieces)
    except BadForm as error:
        assert str(error)


def test_what_aiohttp_writes_is_read() -> None:
    async def write() -> tuple[bytes, str]:
        form = aiohttp.FormData(quote_fields=False)
        form.add_field("purpose", "batch")
        form.add_field("file", b'{"a": 1}\n', filename='my "best" file.jsonl', content_type="application/jsonl")
        payload = form()
        return await payload.as_bytes(), payload.headers["Content-Type"]

    body, kind = asyncio.run(write())
    parts = read_form([body], read_boundary(kind))
    assert parts == [("purpose", None, b"batch"), ("file", 'my "best" file.jsonl', b'{"a": 1}\n')]


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/form-data; boundary=abc", b"abc"),
        ('multipart/form-data; charset=utf-8; boundary="a b c"', b"a b c"),
        ("Multipart/Form-Data;boundary=x-y", b"x-y"),
    ],
)
def test_a_boundary_is_read(content_type: str, boundary: bytes) -> None:
    assert read_boundary(content_type) == boundary


@pytest.mark.parametrize("content_type", ["multipart/form-data", "multipart/form-data; boundary=", "text/plain"])
def test_a_form_without_a_boundary_is_bad(content_type: str) -> None:
    with pytest.raises(BadForm, match="boundary"):
        read_boundary(content_type)


@pytest.mark.parametrize(
    ("form", "words"),
    [
        (b"hello" * 10, "begin"),
        (b"--bXX", "followed"),
        (b"--b\r\n" + b"x" * HEAD_LIMIT_BYTES, "larger"),
        (b"--b\r\nContent-Type: x/y\r\n\r\n", "Content-Disposition"),
        (build_form([("n", None, b"")] * (PARTS_LIMIT + 1)), "parts"),
        (build_form([("n", None, b"1")])[:-6], "ends before"),
        (
            b'--b\r\nContent-Disposition: form-data; name="file"\r\nContent-Transfer-Encoding: base64\r\n\r\n',
            "Encoding",
        ),
    ],
)
def test_what_is_no_form_is_told_in_words(form: bytes, words: str) -> None:
    with pytest.raises(BadForm, match=words):
        read_form([form])
