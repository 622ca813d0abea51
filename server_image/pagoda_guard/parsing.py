"""Bytes that a stranger sent become a typed value or one error: no other exception, no unbounded work.

The bound on size comes first, so time and memory are bounded too; depth is bounded by the decoder, numbers by the types
below. JSON knows neither NaN nor infinity, and a number too large for a float is refused.
"""

from typing import Annotated, TypeVar

import msgspec

T = TypeVar("T")

Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
"""How many there are of something: exact as a float too."""
Figure = Annotated[float, msgspec.Meta(ge=0, le=1e15)]
"""A rate or an amount, never negative."""


class BadInput(ValueError):
    """The bytes are not what was agreed on. The message never repeats them."""


def parse_json(raw: bytes, kind: type[T], *, limit_bytes: int) -> T:
    """Decodes at most `limit_bytes` of JSON as `kind` (a msgspec Struct or another type). Raises `BadInput`."""
    if len(raw) > limit_bytes:
        raise BadInput(f"{len(raw)} bytes; at most {limit_bytes} are read")
    try:
        raw.decode()
        return msgspec.json.decode(raw, type=kind)
    except UnicodeDecodeError as error:
        raise BadInput(f"not UTF-8 at byte {error.start}") from error
    except RecursionError as error:
        raise BadInput("nested too deep") from error
    except (msgspec.MsgspecError, ValueError, OverflowError) as error:
        raise BadInput(str(error)) from error
