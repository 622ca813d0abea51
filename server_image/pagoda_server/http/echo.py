"""The prompt that an answer of `echo` begins with, with its tokens' log-probabilities where they are asked for."""

import codecs
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pagoda_server.dialog.events import Content
from pagoda_server.http.choice import Piece, ScoredToken
from pagoda_server.http.prompt_scores import PromptScores
from pagoda_server.text.token_bytes import TokenBytes
from pagoda_server.text.tokenizer import Tokenizer
from pagoda_server.wire import TokenLogprobs


@dataclass(frozen=True, slots=True)
class Echo:
    text: str
    token_ids: Sequence[int] = ()
    """Of a prompt whose tokens are told; empty: its text alone."""
    offsets: Sequence[int] = ()
    """Where in the text each token begins."""

    def prepend(self, piece: Piece, scores: Sequence[TokenLogprobs | None]) -> Piece:
        """Returns the answer's first piece with the prompt in front of it.

        NB: nothing comes before the first token of a prompt, so it has no score.
        """
        known = [*scores, *[None] * (len(self.token_ids) - len(scores))]
        tokens = map(ScoredToken, self.token_ids, self.offsets, known)
        events = None if piece.events is None else [Content(self.text), *piece.events]
        return replace(piece, text=self.text + piece.text, tokens=[*tokens, *piece.tokens], events=events)


class Echoes:
    """Those of an answer's choices, by their indices: each stands in front of its choice's first piece."""

    def __init__(self, echoes: Mapping[int, Echo], scores: PromptScores) -> None:
        self._waiting = dict(echoes)
        self._scores = scores

    def count(self, pieces: Sequence[Piece]) -> int:
        """Returns how many log-probabilities are put in front of these pieces."""
        return sum(self._scores.count(piece.index) for piece in pieces if self._is_first(piece))

    def begin(self, piece: Piece) -> Piece:
        if not self._is_first(piece):
            return piece
        return self._waiting.pop(piece.index).prepend(piece, self._scores.read(piece.index))

    def _is_first(self, piece: Piece) -> bool:
        """Returns whether the choice begins with the piece. NB: before its tokens there may be news of the prompt."""
        return piece.index in self._waiting and (bool(piece.token_ids) or piece.finish_reason is not None)


def build_echo(tokenizer: Tokenizer, text: str, token_ids: Sequence[int], *, scored: bool) -> Echo:
    return Echo(text, token_ids, find_offsets(tokenizer.token_bytes, token_ids, text)) if scored else Echo(text)


def find_offsets(token_bytes: TokenBytes, token_ids: Sequence[int], text: str) -> list[int]:
    """Returns how many characters of the text stand before each of its tokens, by the tokens' bytes.

    A character of several tokens begins with its first. NB: a special token may have been put there by the tokenizer,
    so that no character of the text is its own.
    """
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    offsets, at = [], 0
    for token_id in token_ids:
        offsets.append(min(at, len(text)))
        added = token_bytes.added.get(token_id)
        if added is None:
            at += len(decoder.decode(token_bytes(token_id)))
        elif text.startswith(spelled := added.decode(), at):
            at += len(spelled)
    return offsets
