"""`POST /v1/completions`: prompts as text or token ids, answers as text."""

from typing import Any

from pagoda_server.http.answer import Dialect
from pagoda_server.http.choice import Piece
from pagoda_server.http.errors import ApiError
from pagoda_server.http.schemas import CompletionRequest
from pagoda_server.http.shapes import Envelope, completion_logprobs
from pagoda_server.text.tokenizer import Tokenizer

DEFAULT_MAX_TOKENS = 16


def encode_prompts(tokenizer: Tokenizer, body: CompletionRequest, vocab_size: int) -> list[list[int]]:
    items: list[Any] = body.prompt if isinstance(body.prompt, list) else [body.prompt]
    if items and isinstance(items[0], int):
        items = [items]
    prompts = [tokenizer.encode(item) if isinstance(item, str) else item for item in items]
    worst = max((max(prompt, default=0) for prompt in prompts), default=0)
    if worst >= vocab_size:
        raise ApiError(f"prompt has token id {worst}; the largest is {vocab_size - 1}", param="prompt")
    return prompts


def build_dialect(tokenizer: Tokenizer, model: str, *, logprobs: bool) -> Dialect:
    def choice(piece: Piece) -> dict[str, Any]:
        scored = completion_logprobs(tokenizer, piece.tokens) if logprobs else None
        return {"index": piece.index, "text": piece.text, "logprobs": scored, "finish_reason": piece.finish_reason}

    envelope = Envelope("text_completion", "cmpl", model)
    return Dialect(whole=envelope, chunk=envelope, build_choice=choice, build_chunk=choice)
