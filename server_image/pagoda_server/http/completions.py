"""`POST /v1/completions`: prompts as text or token ids, answers as text."""

from typing import Any

from pagoda_server.http.choice import Piece
from pagoda_server.http.chunks import Dialect
from pagoda_server.http.errors import RequestError, prompt_too_long
from pagoda_server.http.schemas import CompletionRequest
from pagoda_server.http.shapes import Envelope, completion_logprobs
from pagoda_server.text.tokenizer import PromptTooLong, Tokenizer

DEFAULT_MAX_TOKENS = 16


def encode_prompts(tokenizer: Tokenizer, body: CompletionRequest, vocab_size: int, *, limit: int) -> list[list[int]]:
    """Returns the token ids of each prompt. Raises `RequestError`.

    NB: a prompt is the caller's whole text, as the model reads it: special tokens in it are special tokens.
    """
    items: list[Any] = body.prompt if isinstance(body.prompt, list) else [body.prompt]
    if items and isinstance(items[0], int):
        items = [items]
    try:
        prompts = [tokenizer.encode(item, limit=limit) if isinstance(item, str) else item for item in items]
    except PromptTooLong as error:
        raise prompt_too_long(error.at_least, error.limit, "prompt") from error
    worst = max((max(prompt, default=0) for prompt in prompts), default=0)
    if worst >= vocab_size:
        raise RequestError(f"prompt has token id {worst}; the largest is {vocab_size - 1}", param="prompt")
    return prompts


def build_dialect(tokenizer: Tokenizer, model: str, *, logprobs: bool) -> Dialect:
    def choice(piece: Piece) -> dict[str, Any]:
        scored = completion_logprobs(tokenizer, piece.tokens) if logprobs else None
        return {"index": piece.index, "text": piece.text, "logprobs": scored, "finish_reason": piece.finish_reason}

    envelope = Envelope("text_completion", "cmpl", model)
    return Dialect(whole=envelope, chunk=envelope, build_choice=choice, build_chunk=choice, scored=logprobs)
