"""The fields by which a request speaks of tokens: which may come, which of the prompt count, which are told."""

from typing import Annotated

from pydantic import Field, model_validator

from pagoda_server.http.errors import RequestError
from pagoda_server.http.hints import Hints
from pagoda_server.http.numbers import AllowedTokenIds, Biases, Int
from pagoda_server.wire import MAX_LOGPROBS

MAX_BAD_WORDS = 128
MAX_BAD_CHARACTERS = 4096
"""The maximum for all bad words together."""
BadWord = Annotated[str, Field(min_length=1, max_length=1024)]

CacheSalt = Annotated[str, Field(min_length=1, max_length=512)]


class TokenFields(Hints):
    logit_bias: Biases | None = None
    allowed_token_ids: AllowedTokenIds | None = None
    bad_words: Annotated[list[BadWord], Field(max_length=MAX_BAD_WORDS, fail_fast=True)] | None = None
    prompt_logprobs: Annotated[Int, Field(ge=0, le=MAX_LOGPROBS)] | None = None
    truncate_prompt_tokens: Annotated[Int, Field(ge=-1, le=2**31 - 1)] | None = None
    """-1: to what the context holds beside the answer. Of a longer prompt the last tokens are kept."""
    return_token_ids: bool | None = None
    return_tokens_as_token_ids: bool | None = None
    skip_special_tokens: bool | None = None
    add_special_tokens: bool | None = None
    """Left out: a prompt has them, a chat has those of its template."""
    cache_salt: CacheSalt | None = None

    @model_validator(mode="after")
    def _check_truncation(self) -> "TokenFields":
        if self.truncate_prompt_tokens == 0:
            raise RequestError(
                "truncate_prompt_tokens is 0; give -1, or at least 1",
                param="truncate_prompt_tokens",
                code="invalid_value",
            )
        return self

    @model_validator(mode="after")
    def _check_bad_words(self) -> "TokenFields":
        total = sum(map(len, self.bad_words or ()))
        if total > MAX_BAD_CHARACTERS:
            raise RequestError(
                f"bad_words has {total} characters in all; give at most {MAX_BAD_CHARACTERS}",
                param="bad_words",
                code="invalid_value",
            )
        return self

    @property
    def biases(self) -> tuple[tuple[int, float], ...]:
        by_id = {int(token_id): bias for token_id, bias in (self.logit_bias or {}).items()}
        return tuple((token_id, bias) for token_id, bias in by_id.items() if bias)


def plan_truncation(wish: int | None, *, answer_tokens: int | None, limit: int) -> int | None:
    """Returns how many of a prompt's last tokens are kept in a context of `limit`; None: all."""
    return max(1, limit - max(1, answer_tokens or 1)) if wish == -1 else wish
