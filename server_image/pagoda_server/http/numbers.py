"""The kinds of numbers and lists that request bodies are made of.

Validation ends at the first error of a list: a body of a million wrong items would else make a million errors.
"""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from pagoda_server.wire import MAX_ALLOWED_TOKENS, MAX_BIASES

MAX_EXACT = 2**53
MAX_STOPS = 64


def as_int(value: Any) -> Any:
    """Returns a whole float as an integer: some languages write 2 as 2.0."""
    whole = isinstance(value, float) and value.is_integer() and abs(value) <= MAX_EXACT
    return int(value) if whole else value


def as_ints(value: Any) -> Any:
    return [as_int(item) for item in value] if isinstance(value, list) and float in set(map(type, value)) else value


def limit_members(most: int) -> BeforeValidator:
    """Returns what refuses an object of more members. NB: pydantic would look at each of them first."""

    def check(value: Any) -> Any:
        if isinstance(value, dict) and len(value) > most:
            raise PydanticCustomError("too_long", "too many members")
        return value

    return BeforeValidator(check)


Int = Annotated[int, BeforeValidator(as_int)]
TokenId = Annotated[int, Field(ge=0)]
TokenIds = Annotated[list[TokenId], Field(min_length=1, fail_fast=True), BeforeValidator(as_ints)]
StopTokenIds = Annotated[list[TokenId], Field(max_length=MAX_STOPS, fail_fast=True), BeforeValidator(as_ints)]
AllowedTokenIds = Annotated[
    list[TokenId], Field(min_length=1, max_length=MAX_ALLOWED_TOKENS, fail_fast=True), BeforeValidator(as_ints)
]
Penalty = Annotated[float, Field(ge=-2, le=2)]
TokenKey = Annotated[str, Field(pattern=r"^[0-9]{1,10}$")]
Biases = Annotated[dict[TokenKey, Annotated[float, Field(ge=-100, le=100)]], limit_members(MAX_BIASES)]
