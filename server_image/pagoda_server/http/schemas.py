"""The request bodies. Every field works, or is a hint that asks for nothing, or is refused by its name."""

from typing import Annotated, Any, TypeVar

import orjson
from pydantic import BeforeValidator, Discriminator, Field, Tag, ValidationError, model_validator

from pagoda_server.http.answer_form import FormFields
from pagoda_server.http.chat_form import ChatForm, find_form
from pagoda_server.http.dialog_fields import DialogFields
from pagoda_server.http.errors import RequestError, from_validation
from pagoda_server.http.fields import CHAT_FIELDS, COMPLETION_FIELDS, STREAM_FIELDS
from pagoda_server.http.messages import Messages
from pagoda_server.http.numbers import Int, Penalty, StopTokenIds, TokenIds, limit_members
from pagoda_server.http.stop_fields import StopFields
from pagoda_server.http.strict import Strict
from pagoda_server.http.token_fields import TokenFields
from pagoda_server.wire import MAX_LOGPROBS

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
MAX_CHOICES = 16
MAX_DOCUMENTS = 256
MAX_DOCUMENT_MEMBERS = 16


def _false_as_none(value: Any) -> Any:
    return None if value is False else value


class StreamOptions(Strict):
    unbuilt = STREAM_FIELDS
    include_usage: bool | None = None
    continuous_usage_stats: bool | None = None
    include_obfuscation: bool | None = None


Document = Annotated[dict[str, str], limit_members(MAX_DOCUMENT_MEMBERS)]
Documents = Annotated[list[Document], Field(max_length=MAX_DOCUMENTS, fail_fast=True)]


class GenerationRequest(FormFields, TokenFields, StopFields):
    """The fields that chat and completions share."""

    model: str
    max_tokens: Annotated[Int, Field(ge=0)] | None = None
    """More than what is left of the context: what is left. 0: the prompt alone is looked at."""
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    stop_token_ids: StopTokenIds | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[Int, Field(ge=-1, le=2**31 - 1)] | None = None
    """-1 and 0: no limit."""
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    seed: Annotated[Int, Field(ge=-(2**63), lt=2**63)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    repetition_penalty: Annotated[float, Field(ge=0.01, le=2)] | None = None
    n: Annotated[Int, Field(ge=1, le=MAX_CHOICES)] | None = None
    echo: bool | None = None
    ignore_eos: bool | None = None
    min_tokens: Annotated[Int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _check_stream_options(self) -> "GenerationRequest":
        if self.stream_options is not None and any(self.stream_options.model_dump().values()) and not self.stream:
            raise RequestError(
                "stream_options is given without stream: true; set stream or remove it", param="stream_options"
            )
        return self

    @model_validator(mode="after")
    def _check_prompt_logprobs(self) -> "GenerationRequest":
        if self.prompt_logprobs is not None and self.stream:
            raise RequestError(
                "prompt_logprobs is given with stream: true; they come whole, so remove one of both",
                param="prompt_logprobs",
            )
        return self

    @model_validator(mode="after")
    def _check_max_tokens(self) -> "GenerationRequest":
        if self.max_tokens == 0 and not self.echo and self.prompt_logprobs is None:
            raise RequestError(
                "max_tokens is 0; give at least 1, or ask for the prompt with echo or prompt_logprobs",
                param="max_tokens",
                code="invalid_value",
            )
        return self

    @property
    def include_usage(self) -> bool:
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    @property
    def continuous_usage(self) -> bool:
        """Returns whether each chunk tells the usage: where it is told at all."""
        return self.include_usage and bool(self.stream_options and self.stream_options.continuous_usage_stats)

    @property
    def include_obfuscation(self) -> bool:
        return self.stream_options is not None and bool(self.stream_options.include_obfuscation)

    @property
    def max_answer_tokens(self) -> int | None:
        return self.max_tokens

    @property
    def num_sequences(self) -> int:
        """Returns how many answers to each prompt are written, of which `n` are given."""
        return self.n or 1

    @property
    def wire_logprobs(self) -> int | None:
        raise NotImplementedError

    @property
    def wire_prompt_logprobs(self) -> int | None:
        return self._unscored if self.prompt_logprobs is None else self.prompt_logprobs

    @property
    def _unscored(self) -> int | None:
        """Returns what the engine is asked of a prompt whose scores nobody wants: it runs none for nothing."""
        return 0 if self.max_answer_tokens == 0 else None


class ChatRequest(DialogFields, GenerationRequest):
    unbuilt = CHAT_FIELDS
    messages: Messages
    max_completion_tokens: Annotated[Int, Field(ge=1)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[Int, Field(ge=0, le=MAX_LOGPROBS)] | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None
    documents: Documents | None = None

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

    @model_validator(mode="after")
    def _check_form(self) -> "ChatRequest":
        if self.echo and not self.form.continues_last:
            raise RequestError(
                "echo is true and the answer begins a message; set continue_final_message, or remove echo", param="echo"
            )
        return self

    @property
    def form(self) -> ChatForm:
        return find_form(
            self.messages,
            add_generation_prompt=self.add_generation_prompt,
            continue_final_message=self.continue_final_message,
            add_special_tokens=self.add_special_tokens,
        )

    @property
    def max_answer_tokens(self) -> int | None:
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens

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
    logprobs: Annotated[Annotated[Int, Field(ge=0, le=MAX_LOGPROBS)] | None, BeforeValidator(_false_as_none)] = None
    best_of: Annotated[Int, Field(ge=1, le=MAX_CHOICES)] | None = None
    """As many answers are written, and those of the highest mean log-probability given."""

    @model_validator(mode="after")
    def _check_best_of(self) -> "CompletionRequest":
        n, best_of = self.n or 1, self.num_sequences
        if best_of < n:
            raise RequestError(f"best_of is {best_of}, below n, which is {n}; raise it", param="best_of")
        if self.stream and best_of > n:
            raise RequestError(
                f"best_of is {best_of} with stream: true; the best are known at the end, so give {n} or do not stream",
                param="best_of",
            )
        return self

    @property
    def num_sequences(self) -> int:
        return self.best_of or self.n or 1

    @property
    def wire_logprobs(self) -> int | None:
        chooses = self.num_sequences > (self.n or 1)
        return 0 if self.logprobs is None and chooses else self.logprobs

    @property
    def wire_prompt_logprobs(self) -> int | None:
        echoed = self.logprobs if self.echo else None
        return max((wish for wish in (self.prompt_logprobs, echoed) if wish is not None), default=self._unscored)


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
