"""The request bodies. Every field either works or is refused by its name; nothing is silently ignored.

Validation ends at the first error of a list: a body of a million wrong items would else make a million errors.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, model_validator

from pagoda_server.http.errors import ApiError, from_validation

NOT_YET = "is not supported yet; remove it"
# Known to OpenAI's API, refused here. Null means the same as leaving them out.
REFUSED: Mapping[str, str] = {
    name: NOT_YET
    for name in [
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "functions",
        "function_call",
        "logit_bias",
        "echo",
        "best_of",
        "suffix",
        "audio",
        "modalities",
        "prediction",
        "reasoning_effort",
        "verbosity",
        "store",
        "metadata",
        "service_tier",
        "web_search_options",
        "prompt_cache_key",
        "prompt_cache_retention",
        "safety_identifier",
    ]
}
TokenId = Annotated[int, Field(ge=0)]
TokenIds = Annotated[list[TokenId], Field(min_length=1, fail_fast=True)]
StopString = Annotated[str, Field(min_length=1, max_length=1024)]
Stops = Annotated[list[StopString], Field(max_length=4, fail_fast=True)]
MAX_ITEMS = 4096
"""Of messages, and of one message's parts: more cost time even when they are empty."""
Penalty = Annotated[float, Field(ge=-2, le=2)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _keep_one_unknown(cls, value: Any) -> Any:
        """One unknown field is enough to refuse the rest."""
        if not isinstance(value, dict):
            return value
        known = cls.model_fields
        unknown = [name for name in value if name not in known]
        if len(unknown) < 2:
            return value
        return {name: item for name, item in value.items() if name in known or name == unknown[0]}


class TextPart(Strict):
    type: Literal["text"]
    text: str


class Message(Strict):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | Annotated[list[TextPart], Field(max_length=MAX_ITEMS, fail_fast=True)]

    def for_template(self) -> dict[str, str]:
        """Templates know no `developer`, and most know only string contents: text parts are joined by newlines."""
        role = "system" if self.role == "developer" else self.role
        text = self.content if isinstance(self.content, str) else "\n".join(part.text for part in self.content)
        return {"role": role, "content": text}


Messages = Annotated[list[Message], Field(min_length=1, max_length=MAX_ITEMS, fail_fast=True)]


class StreamOptions(Strict):
    include_usage: bool = False


class ResponseFormat(Strict):
    type: Literal["text"]


class GenerationRequest(Strict):
    """What chat and completions share."""

    model: str
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    stop: StopString | Stops | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1, le=2**31 - 1)] | None = None
    """-1 and 0: no limit."""
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    repetition_penalty: Annotated[float, Field(ge=0.01, le=2)] | None = None
    n: Annotated[int, Field(ge=1, le=16)] | None = None
    ignore_eos: bool | None = None
    min_tokens: Annotated[int, Field(ge=0)] | None = None
    user: str | None = None
    """The caller's own metadata: accepted, without effect."""

    @model_validator(mode="after")
    def _check_stream_options(self) -> "GenerationRequest":
        if self.stream_options is not None and not self.stream:
            raise ApiError(
                "stream_options is given without stream: true; set stream or remove it", param="stream_options"
            )
        return self

    @property
    def stops(self) -> tuple[str, ...]:
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def include_usage(self) -> bool:
        return self.stream_options is not None and self.stream_options.include_usage

    @property
    def max_answer_tokens(self) -> int | None:
        return self.max_tokens

    @property
    def wire_logprobs(self) -> int | None:
        raise NotImplementedError


class ChatRequest(GenerationRequest):
    messages: Messages
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    response_format: ResponseFormat | None = None

    @model_validator(mode="after")
    def _check_pairs(self) -> "ChatRequest":
        if self.top_logprobs is not None and not self.logprobs:
            raise ApiError("top_logprobs is given without logprobs: true; set it or remove it", param="top_logprobs")
        both = (self.max_tokens, self.max_completion_tokens)
        if None not in both and both[0] != both[1]:
            raise ApiError(f"max_tokens is {both[0]} and max_completion_tokens {both[1]}; give one", param="max_tokens")
        return self

    @property
    def max_answer_tokens(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens

    @property
    def wire_logprobs(self) -> int | None:
        return (self.top_logprobs or 0) if self.logprobs else None


def _find_prompt_form(value: Any) -> str:
    """By the first item alone, so that a prompt is checked once and not once a form."""
    if not isinstance(value, list):
        return "text"
    first = value[0] if value else ""
    return "texts" if isinstance(first, str) else "token_lists" if isinstance(first, list) else "tokens"


class CompletionRequest(GenerationRequest):
    prompt: Annotated[
        Annotated[str, Tag("text")]
        | Annotated[list[str], Field(min_length=1, max_length=64, fail_fast=True), Tag("texts")]
        | Annotated[TokenIds, Tag("tokens")]
        | Annotated[list[TokenIds], Field(min_length=1, max_length=64, fail_fast=True), Tag("token_lists")],
        Discriminator(_find_prompt_form),
    ]
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None

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
            raise ApiError("give exactly one of prompt and messages", param="prompt")
        return self


Body = TypeVar("Body", bound=Strict)


def parse(kind: type[Body], raw: bytes) -> Body:
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise ApiError(f"the body is not valid JSON: {error}", code="invalid_json") from error
    if not isinstance(value, dict):
        raise ApiError("the body is not a JSON object; send one", code="invalid_json")
    try:
        return kind.model_validate(_without_refused(value))
    except ValidationError as error:
        raise from_validation(error) from error


def _without_refused(value: dict[str, Any]) -> dict[str, Any]:
    for name in value.keys() & REFUSED.keys():
        if value[name] is not None:
            raise ApiError(f"{name} {REFUSED[name]}", param=name, code="unsupported_parameter")
    kind = value.get("response_format")
    if isinstance(kind, dict) and kind.get("type") in ("json_object", "json_schema"):
        raise ApiError(
            f"response_format is {kind['type']!r}: not supported yet; use text",
            param="response_format",
            code="unsupported_parameter",
        )
    return {name: item for name, item in value.items() if name not in REFUSED}
