"""The strings that end an answer."""

from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag, model_validator

from pagoda_server.http.errors import RequestError
from pagoda_server.http.numbers import MAX_STOPS
from pagoda_server.http.strict import Strict

MAX_STOP_CHARACTERS = 4096
"""The maximum for all stop strings together: each token's text is held against each of them."""
StopString = Annotated[str, Field(min_length=1, max_length=1024)]
Stops = Annotated[list[StopString], Field(max_length=MAX_STOPS, fail_fast=True)]


def _find_stop_form(value: Any) -> str:
    return "<texts>" if isinstance(value, list) else "<text>"


class StopFields(Strict):
    stop: (
        Annotated[
            Annotated[StopString, Tag("<text>")] | Annotated[Stops, Tag("<texts>")], Discriminator(_find_stop_form)
        ]
        | None
    ) = None
    include_stop_str_in_output: bool | None = None

    @model_validator(mode="after")
    def _check_stops(self) -> "StopFields":
        total = sum(map(len, self.stops))
        if total > MAX_STOP_CHARACTERS:
            raise RequestError(
                f"stop has {total} characters in all; give at most {MAX_STOP_CHARACTERS}",
                param="stop",
                code="invalid_value",
            )
        return self

    @property
    def stops(self) -> tuple[str, ...]:
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
