import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagoda_gateway.batch.limits import ERRORS_LISTED
from pagoda_gateway.batch.lines import BYTE_ORDER_MARK, Expected, Scanner

EXPECTED = Expected("/v1/completions", "m", line_bytes=300, requests=50)


def line(number: int, **changes: Any) -> bytes:
    value = {"custom_id": f"r{number}", "method": "POST", "url": EXPECTED.endpoint, "body": {"model": "m"}}
    return json.dumps(value | changes).encode()


def scan(content: bytes, cuts: list[int] | None = None) -> Scanner:
    scanner = Scanner(EXPECTED)
    places = sorted({0, len(content), *(cut for cut in cuts or [] if cut < len(content))})
    for start, end in zip(places, places[1:], strict=False):
        scanner.feed(content[start:end])
    scanner.close()
    return scanner


def read_all(scanner: Scanner, content: bytes) -> list[bytes]:
    places = (scanner.index.place(number) for number in range(len(scanner.index)))
    return [content[start : start + size] for start, size in places]


pieces = st.lists(
    st.sampled_from([line(0), line(1), line(2), b"", b"  ", b"{", b"x" * 400, b"\xff", line(3) + b"\r"]), max_size=8
)


@given(pieces, st.lists(st.integers(0, 2000), max_size=8), st.booleans())
def test_however_a_file_is_cut_its_requests_and_errors_are_the_same(
    lines: list[bytes], cuts: list[int], ends: bool
) -> None:
    content = b"\n".join(lines) + (b"\n" if ends else b"")
    whole, cut = scan(content), scan(content, cuts)
    assert read_all(whole, content) == read_all(cut, content)
    assert whole.errors == cut.errors
    assert all(json.loads(found)["custom_id"] for found in read_all(whole, content))


def test_empty_lines_and_a_mark_at_the_beginning_are_passed_over() -> None:
    content = BYTE_ORDER_MARK + line(0) + b"\n\n \r\n" + line(1)
    scanner = scan(content)
    assert not scanner.errors and read_all(scanner, content) == [line(0), line(1)]


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        (b"", "empty_file", "no request"),
        (b"\n\n", "empty_file", "no request"),
        (b"[1]", "invalid_json_line", "no JSON object"),
        (b'{"custom_id": "' + b"[" * 100, "invalid_json_line", "no JSON object"),
        (line(0, custom_id=" "), "missing_custom_id", "give each line"),
        (line(0, custom_id=7), "missing_custom_id", "give each line"),
        (line(0, method="PUT"), "invalid_method", "'PUT'"),
        (line(0, url="/v1/x"), "invalid_url", "'/v1/x'"),
        (line(0, body=[]), "invalid_body", "no object"),
        (line(0, body={"stream": True}), "invalid_body", "stream"),
        (line(0, body={"model": "x"}), "model_not_found", "give 'm'"),
        (line(0, body={"prompt": "x" * 400}), "line_too_long", "300 bytes"),
        (line(0) + b"\n" + line(0), "duplicate_custom_id", "before"),
        (b"\n".join(map(line, range(51))), "too_many_requests", "more than 50"),
    ],
)
def test_what_is_wrong_with_a_file_is_told(content: bytes, code: str, words: str) -> None:
    errors = scan(content).errors
    assert [error.code for error in errors] == [code]
    assert words in errors[0].message


def test_so_many_errors_are_told_and_no_more() -> None:
    assert len(scan(b"{\n" * 10_000).errors) == ERRORS_LISTED


def test_a_line_without_an_end_is_not_held() -> None:
    scanner = Scanner(EXPECTED)
    for _ in range(100):
        scanner.feed(b"x" * 10_000)
        assert len(scanner._held) <= EXPECTED.line_bytes
    scanner.close()
    assert [error.code for error in scanner.errors] == ["line_too_long"]
