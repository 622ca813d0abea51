"""`POST /v1/completions`: prompts as text or token ids, answers as text."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pagoda_server.http.choice import Piece
from pagoda_server.http.chunks import Dialect
from pagoda_server.http.errors import RequestError, prompt_too_long
from pagoda_server.http.logprobs import completion_logprobs
from pagoda_server.http.schemas import CompletionRequest
from pagoda_server.http.shapes import Envelope
from pagoda_server.http.token_fields import plan_truncation
from pagoda_server.text.tokenizer import PromptTooLong, Tokenizer

DEFAULT_MAX_TOKENS = 16


@dataclass(frozen=True, slots=True)
class EncodedPrompts:
    token_ids: list[list[int]]
    texts: Sequence[str] = ()
    """What the answers to each begin with; empty: with nothing."""


def encode_prompts(tokenizer: Tokenizer, body: CompletionRequest, vocab_size: int, *, limit: int) -> EncodedPrompts:
    """Returns the token ids of each prompt, and the texts that answers begin with. Raises `RequestError`.

    NB: a prompt is the caller's whole text, as the model reads it: special tokens in it are special tokens.
    """
    keep_last = plan_truncation(body.truncate_prompt_tokens, answer_tokens=body.max_answer_tokens, limit=limit)
    items: list[Any] = body.prompt if isinstance(body.prompt, list) else [body.prompt]
    if items and isinstance(items[0], int):
        items = [items]
    try:
        prompts = [_encode(tokenizer, item, body, limit, keep_last) for item in items]
    except PromptTooLong as error:
        raise prompt_too_long(error.at_least, error.limit, "prompt") from error
    worst = max((max(prompt, default=0) for prompt in prompts), default=0)
    if worst >= vocab_size:
        raise RequestError(f"prompt has token id {worst}; the largest is {vocab_size - 1}", param="prompt")
    if not body.echo:
        return EncodedPrompts(prompts)
    decode = partial(tokenizer.decode, skip_special_tokens=body.skip_special_tokens is not False)
    spelled = zip(items, prompts, strict=True)
    texts = [item if isinstance(item, str) and keep_last is None else decode(prompt) for item, prompt in spelled]
    return EncodedPrompts(prompts, texts)


def _encode(
    tokenizer: Tokenizer, item: str | list[int], body: CompletionRequest, limit: int, keep_last: int | None
) -> list[int]:
    if isinstance(item, list):
        return item if keep_last is None else item[-keep_last:]
    return tokenizer.encode(
        item,
        add_special_tokens=body.add_special_tokens is not False,
        limit=limit if keep_last is None else None,
        keep_last=keep_last,
    )


def build_dialect(
    tokenizer: Tokenizer, model: str, *, logprobs: int | None, as_ids: bool = False, answer_id: str | None = None
) -> Dialect:
    def choice(piece: Piece) -> dict[str, Any]:
        scored = None
        if logprobs is not None:
            scored = completion_logprobs(tokenizer, piece.tokens, as_ids=as_ids, most=logprobs)
        return {"index": piece.index, "text": piece.text, "logprobs": scored, "finish_reason": piece.finish_reason}

    envelope = Envelope.open("text_completion", "cmpl", model, answer_id)
    return Dialect(whole=envelope, chunk=envelope, build_choice=choice, build_chunk=choice, scored=logprobs is not None)
