"""What an answer says beside its choices because the request asks for it: token ids, the prompt's scores, padding.

It stands beside what the dialects write, so that each works with every API.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pagoda_server.http.choice import Piece
from pagoda_server.http.hints import SERVED_TIER
from pagoda_server.http.logprobs import prompt_logprobs
from pagoda_server.http.schemas import GenerationRequest
from pagoda_server.text.tokenizer import Tokenizer
from pagoda_server.wire import TokenLogprobs

PADDED_TO_BYTES = 32
"""A multiple of it is what a chunk's text and its padding have together, so that its length tells little."""


@dataclass(frozen=True, slots=True)
class Prompted:
    """The prompt of an answer, and what the engine said of its tokens."""

    token_ids: Sequence[int]
    scores: Sequence[TokenLogprobs | None] = ()


@dataclass(frozen=True, slots=True)
class Extras:
    """`in_choice`: what is said of a prompt stands in its choices, as in completions, else beside them."""

    in_choice: bool = False
    tells_tokens: bool = False
    num_prompt_logprobs: int | None = None
    pads: bool = False
    fixed: dict[str, Any] = field(default_factory=dict)
    """In each chunk and in the whole answer."""

    @classmethod
    def find(cls, body: GenerationRequest, *, in_choice: bool) -> "Extras":
        return cls(
            in_choice=in_choice,
            tells_tokens=bool(body.return_token_ids),
            num_prompt_logprobs=body.prompt_logprobs,
            pads=body.include_obfuscation,
            fixed={} if body.service_tier is None else {"service_tier": SERVED_TIER},
        )

    @property
    def are_in_chunks(self) -> bool:
        """Returns whether a chunk has something of its own beside its choice."""
        return self.tells_tokens or self.pads

    def describe_prompt(self, tokenizer: Tokenizer, prompt: Prompted) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if self.tells_tokens:
            found["prompt_token_ids"] = prompt.token_ids
        if self.num_prompt_logprobs is not None:
            most = self.num_prompt_logprobs
            found["prompt_logprobs"] = prompt_logprobs(tokenizer, prompt.token_ids, prompt.scores, most=most)
        return found

    def describe_piece(self, piece: Piece) -> dict[str, Any]:
        return {"token_ids": piece.token_ids} if self.tells_tokens else {}


class ChunkExtras:
    """Those of one choice's chunks."""

    def __init__(self, extras: Extras, prompt_token_ids: Sequence[int]) -> None:
        self._extras = extras
        self._prompt = {"prompt_token_ids": prompt_token_ids} if extras.tells_tokens else {}

    def has_news(self, piece: Piece) -> bool:
        return self._extras.tells_tokens and bool(piece.token_ids)

    def add(self, chunk: dict[str, Any], piece: Piece | None) -> dict[str, Any]:
        """Returns the chunk with what it says more; `piece` None: it only begins a choice."""
        prompt, self._prompt = self._prompt, {}
        (choice,) = chunk["choices"]
        more = {} if piece is None else self._extras.describe_piece(piece)
        inside = prompt if self._extras.in_choice else {}
        beside = {} if self._extras.in_choice else prompt
        added = {**chunk, **beside, "choices": [{**choice, **inside, **more}]}
        return added | {"obfuscation": build_padding(piece.text if piece else "")} if self._extras.pads else added


def build_padding(text: str) -> str:
    """Returns random characters that hide the length of the text."""
    missing = -(len(text.encode()) + 1) % PADDED_TO_BYTES + 1
    return secrets.token_urlsafe(missing)[:missing]
