"""The request bodies. Every field either works or is refused by its name; nothing is silently ignored.

Validation ends at the first error of a list: a body of a million wrong items would else make a million errors.
"""

from typing import Annotated, Any, TypeVar

import orjson
from pydantic import BeforeValidator, Discriminator, Field, Tag, ValidationError, model_validator

from pagoda_server.http.answer_form import FormFields
from pagoda_server.http.errors import RequestError, from_validation
from pagoda_server.http.fields import CHAT_FIELDS, COMPLETION_FIELDS, STREAM_FIELDS
from pagoda_server.http.messages import Messages, Strict

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
MAX_EXACT = 2**53
MAX_STOPS = 64
MAX_STOP_CHARACTERS = 4096
"""The maximum for all stop strings together: each token's text is held against each of them."""


def _as_int(value: Any) -> Any:
    """Returns a whole float as an integer: some languages write 2 as 2.0."""
    whole = isinstance(value, float) and value.is_integer() and abs(value) <= MAX_EXACT
    return int(value) if whole else value


def _as_ints(value: Any) -> Any:
    return [_as_int(item) for item in value] if isinstance(value, list) and float in set(map(type, value)) else value


def _false_as_none(value: Any) -> Any:
    return None if value is False else value


Int = Annotated[int, BeforeValidator(_as_int)]
TokenId = Annotated[int, Field(ge=0)]
TokenIds = Annotated[list[TokenId], Field(min_length=1, fail_fast=True), BeforeValidator(_as_ints)]
StopString = Annotated[str, Field(min_length=1, max_length=1024)]
Stops = Annotated[list[StopString], Field(max_length=MAX_STOPS, fail_fast=True)]
StopTokenIds = Annotated[list[TokenId], Field(max_length=MAX_STOPS, fail_fast=True), BeforeValidator(_as_ints)]
Penalty = Annotated[float, Field(ge=-2, le=2)]


class StreamOptions(Strict):
    unbuilt = STREAM_FIELDS
    include_usage: bool | None = None
    continuous_usage_stats: bool | None = None


def _find_stop_form(value: Any) -> str:
    return "<texts>" if isinstance(value, list) else "<text>"


class GenerationRequest(FormFields):
    """The fields that chat and completions share."""

    model: str
    max_tokens: Annotated[Int, Field(ge=1)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    stop: (
        Annotated[
            Annotated[StopString, Tag("<text>")] | Annotated[Stops, Tag("<texts>")], Discriminator(_find_stop_form)
        ]
        | None
    ) = None
    stop_token_ids: StopTokenIds | None = None
    include_stop_str_in_output: bool | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[Int, Field(ge=-1, le=2**31 - 1)] | None = None
    """-1 and 0: no limit."""
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    seed: Annotated[Int, Field(ge=-(2**63), lt=2**63)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    repetition_penalty: Annotated[float, Field(ge=0.01, le=2)] | None = None
    n: Annotated[Int, Field(ge=1, le=16)] | None = None
    ignore_eos: bool | None = None
    min_tokens: Annotated[Int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _check_stream_options(self) -> "GenerationRequest":
        if (self.include_usage or self.continuous_usage) and not self.stream:
            raise RequestError(
                "stream_options is given without stream: true; set stream or remove it", param="stream_options"
            )
        return self

    @model_validator(mode="after")
    def _check_stops(self) -> "GenerationRequest":
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

    @property
    def include_usage(self) -> bool:
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    @property
    def continuous_usage(self) -> bool:
        return self.stream_options is not None and bool(self.stream_options.continuous_usage_stats)

    @property
    def max_answer_tokens(self) -> int | None:
        return self.max_tokens

    @property
    def max_answer_field(self) -> str:
        return "max_tokens"

    @property
    def wire_logprobs(self) -> int | None:
        raise NotImplementedError


class ChatRequest(GenerationRequest):
    unbuilt = CHAT_FIELDS
    messages: Messages
    max_completion_tokens: Annotated[Int, Field(ge=1)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[Int, Field(ge=0, le=20)] | None = None

    @model_validator(mode="after")
    def _check_pairs(self) -> "ChatRequest":
        if self.top_logprobs and not self.logprobs:
            raise RequestError(
                "top_logprobs is given without logprobs: true; set it or remove it", param="top_logprobs"
            )
        both = (self.max_tokens, self.max_completion_tokens)
        if None not in both and both[0] != both[1]:
            raise RequestError(
                f"max_tokens is {both[0]} and max_completion_tokens {both[1]}; give one", param="max_tokens"
            )
        return self

    @property
    def max_answer_tokens(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens

    @property
    def max_answer_field(self) -> str:
        return "max_completion_tokens" if self.max_completion_tokens else "max_tokens"

    @property
    def wire_logprobs(self) -> int | None:
        return (self.top_logprobs or 0) if self.logprobs else None


def _find_prompt_form(value: Any) -> str:
    """Returns the prompt's form by its first item alone, so that it is checked once and not once per form."""
    if not isinstance(value, list):
        return "<text>"
    first = value[0] if value else ""
    return "<texts>" if isinstance(first, str) else "<token lists>" if isinstance(first, list) else "<tokens>"


class CompletionRequest(GenerationRequest):
    unbuilt = COMPLETION_FIELDS
    prompt: Annotated[
        Annotated[str, Tag("<text>")]
        | Annotated[list[str], Field(min_length=1, max_length=64, fail_fast=True), Tag("<texts>")]
        | Annotated[TokenIds, Tag("<tokens>")]
        | Annotated[list[TokenIds], Field(min_length=1, max_length=64, fail_fast=True), Tag("<token lists>")],
        Discriminator(_find_prompt_form),
    ]
    logprobs: Annotated[Annotated[Int, Field(ge=0, le=20)] | None, BeforeValidator(_false_as_none)] = None

    @property
    def wire_logprobs(self) -> int | None:
        return self.logprobs


class TokenizeRequest(Strict):
    model: str | None = None
    prompt: str | None = None
    messages: Messages | None = None

    @model_validator(mode="after")
    def _check_one(self) -> "TokenizeRequest":
        if (self.prompt is None) == (self.messages is None):
            raise RequestError("give exactly one of prompt and messages", param="prompt")
        return self


Body = TypeVar("Body", bound=Strict)


def parse(kind: type[Body], raw: bytes) -> Body:
    try:
        value = orjson.loads(raw.removeprefix(BYTE_ORDER_MARK))
    except orjson.JSONDecodeError as error:
        raise RequestError(f"the body is not valid JSON: {error}", code="invalid_json") from error
    if not isinstance(value, dict):
        raise RequestError("the body is not a JSON object; send one", code="invalid_json")
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        raise from_validation(error) from error
