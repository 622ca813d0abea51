"""The answers' JSON in both dialects, chat and completions, whole and in chunks. Pure."""

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pagoda_server.http.choice import Piece


@dataclass(frozen=True, slots=True)
class Envelope:
    """The fields that all chunks of one answer share."""

    kind: str
    prefix: str
    model: str
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    created: int = field(default_factory=lambda: int(time.time()))

    @classmethod
    def open(cls, kind: str, prefix: str, model: str, answer_id: str | None = None) -> "Envelope":
        """Returns the envelope of one answer, whose id the client may have named."""
        return cls(kind, prefix, model) if answer_id is None else cls(kind, prefix, model, answer_id)

    def wrap(self, choices: list[dict[str, Any]], **more: object) -> dict[str, Any]:
        head = {"id": f"{self.prefix}-{self.id}", "object": self.kind, "created": self.created, "model": self.model}
        return {**head, "choices": choices, **more}


def join_pieces(pieces: Sequence[Piece]) -> Piece:
    is_read = pieces[0].events is not None
    return Piece(
        index=pieces[0].index,
        text="".join(piece.text for piece in pieces),
        tokens=[token for piece in pieces for token in piece.tokens],
        finish_reason=pieces[-1].finish_reason,
        events=[event for piece in pieces for event in piece.events or ()] if is_read else None,
        token_ids=[token_id for piece in pieces for token_id in piece.token_ids],
    )
