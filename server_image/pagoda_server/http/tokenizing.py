"""`POST /tokenize` and `/detokenize`, in vLLM's shapes: a prompt's tokens as a completion or a chat would have them."""

from collections.abc import Mapping
from typing import Annotated, ClassVar

import orjson
from pydantic import BeforeValidator, Field, model_validator

from pagoda_server.http import chat
from pagoda_server.http.chat_form import find_form
from pagoda_server.http.errors import RequestError
from pagoda_server.http.fields import AsksForNothing, never, only
from pagoda_server.http.messages import Messages, Strict
from pagoda_server.http.numbers import TokenId, as_ints
from pagoda_server.text.tokenizer import Tokenizer


class TokenizeRequest(Strict):
    unbuilt: ClassVar[Mapping[str, AsksForNothing]] = {
        "chat_template": never,
        "chat_template_kwargs": only({}),
        "media_io_kwargs": only({}),
        "mm_processor_kwargs": only({}),
        "tools": only([]),
    }
    model: str | None = None
    prompt: str | None = None
    messages: Messages | None = None
    add_special_tokens: bool | None = None
    """Left out: a prompt has them, a chat has those of its template."""
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None
    return_token_strs: bool | None = None

    @model_validator(mode="after")
    def _check_one(self) -> "TokenizeRequest":
        if (self.prompt is None) == (self.messages is None):
            raise RequestError("give exactly one of prompt and messages", param="prompt")
        return self


class DetokenizeRequest(Strict):
    model: str | None = None
    tokens: Annotated[list[TokenId], Field(fail_fast=True), BeforeValidator(as_ints)]


def tokenize(tokenizer: Tokenizer, body: TokenizeRequest, *, max_model_len: int | None) -> bytes:
    """Returns the answer's JSON. Raises `RequestError`."""
    token_ids = _encode(tokenizer, body)
    strings = [tokenizer.raw.id_to_token(token_id) for token_id in token_ids] if body.return_token_strs else None
    answer = {"count": len(token_ids), "max_model_len": max_model_len, "tokens": token_ids, "token_strs": strings}
    return orjson.dumps(answer)


def detokenize(tokenizer: Tokenizer, body: DetokenizeRequest) -> bytes:
    """Returns the answer's JSON, with special tokens by their names. Raises `RequestError`."""
    largest = tokenizer.raw.get_vocab_size() - 1
    if (worst := max(body.tokens, default=0)) > largest:
        raise RequestError(
            f"tokens has token id {worst}; the largest is {largest}", param="tokens", code="invalid_value"
        )
    return orjson.dumps({"prompt": tokenizer.decode(body.tokens, skip_special_tokens=False)})


def _encode(tokenizer: Tokenizer, body: TokenizeRequest) -> list[int]:
    if body.messages is None:
        return tokenizer.encode(body.prompt or "", add_special_tokens=body.add_special_tokens is not False)
    form = find_form(
        body.messages,
        add_generation_prompt=body.add_generation_prompt,
        continue_final_message=body.continue_final_message,
        add_special_tokens=body.add_special_tokens,
    )
    return chat.encode_messages(tokenizer, body.messages, form)
