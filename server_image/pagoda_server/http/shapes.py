"""The answers' JSON in both dialects, chat and completions, whole and in chunks. Pure."""

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pagoda_server.http.choice import Piece, ScoredToken
from pagoda_server.text.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Envelope:
    """The fields that all chunks of one answer share."""

    kind: str
    prefix: str
    model: str
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    created: int = field(default_factory=lambda: int(time.time()))

    def wrap(self, choices: list[dict[str, Any]], **more: object) -> dict[str, Any]:
        head = {"id": f"{self.prefix}-{self.id}", "object": self.kind, "created": self.created, "model": self.model}
        return {**head, "choices": choices, **more}


def _chat_entry(tokenizer: Tokenizer, token_id: int, logprob: float) -> dict[str, Any]:
    text = tokenizer.token_text(token_id)
    return {"token": text, "logprob": logprob, "bytes": list(text.encode())}


def chat_logprobs(tokenizer: Tokenizer, tokens: Sequence[ScoredToken]) -> dict[str, Any]:
    content = [
        {
            **_chat_entry(tokenizer, token.token_id, token.logprobs.chosen),
            "top_logprobs": [_chat_entry(tokenizer, token_id, value) for token_id, value in token.logprobs.top],
        }
        for token in tokens
    ]
    return {"content": content, "refusal": None}


def completion_logprobs(tokenizer: Tokenizer, tokens: Sequence[ScoredToken]) -> dict[str, Any]:
    """Returns the tokens' logprobs in the shape of completions.

    NB: the token that was chosen is always among the top ones, so there may be one more of them than asked for.
    """
    texts = [tokenizer.token_text(token.token_id) for token in tokens]
    return {
        "tokens": texts,
        "token_logprobs": [token.logprobs.chosen for token in tokens],
        "top_logprobs": [
            {tokenizer.token_text(token_id): value for token_id, value in token.logprobs.top}
            | {text: token.logprobs.chosen}
            for text, token in zip(texts, tokens, strict=True)
        ],
        "text_offset": [token.text_offset for token in tokens],
    }


def join_pieces(pieces: Sequence[Piece]) -> Piece:
    is_read = pieces[0].events is not None
    return Piece(
        index=pieces[0].index,
        text="".join(piece.text for piece in pieces),
        tokens=[token for piece in pieces for token in piece.tokens],
        finish_reason=pieces[-1].finish_reason,
        events=[event for piece in pieces for event in piece.events or ()] if is_read else None,
    )
