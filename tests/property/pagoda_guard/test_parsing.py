"""Any bytes in: a value of the kind, or `BadInput`."""

import math

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pagoda_guard.parsing import BadInput, Count, Figure, parse_json


class Told(msgspec.Struct, frozen=True):
    rate: Figure
    many: Count = 0


LIMIT = 256 * 1024
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
)


@given(st.binary(max_size=512) | json_values.map(msgspec.json.encode))
@example(b"null")
@example(b"[1]")
@example(b"5")
@example(b'{"rate": 1e999}')
@example(b'{"rate": 1, "many": ' + b"9" * 401 + b"}")
@example(b'{"rate": 1, "many": ' + b"9" * 5000 + b"}")
@example(b'{"more": ' + b"[" * 100_000)
@example(b'{"more": "\xff", "rate": 1}')
@example('{"rate": 1}'.encode("utf-16"))
@example(b'{"rate": NaN}')
@example(b'{"rate": -1}')
def test_any_bytes_are_a_value_within_its_bounds_or_one_error(raw: bytes) -> None:
    try:
        told = parse_json(raw, Told, limit_bytes=LIMIT)
    except BadInput:
        return
    assert math.isfinite(told.rate) and told.rate >= 0 and 0 <= told.many <= 2**53


def test_what_is_too_long_is_not_decoded() -> None:
    with pytest.raises(BadInput, match="at most 8 are read"):
        parse_json(b'{"rate": 1}', Told, limit_bytes=8)
