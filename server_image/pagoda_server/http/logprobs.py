"""Log-probabilities in the shapes of the APIs: OpenAI's of chat and of completions, and vLLM's of a prompt.

A token may be a part of a character. It is then named by its bytes, so that no two tokens of one list have one name.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

from pagoda_server.http.choice import ScoredToken
from pagoda_server.text.token_bytes import escape, name_as_id
from pagoda_server.text.tokenizer import Tokenizer
from pagoda_server.wire import TokenLogprobs

LOWEST = -9999.0
"""What JSON can say in place of no probability at all."""
TokenName = Callable[[int], str]


def build_completion_name(tokenizer: Tokenizer) -> TokenName:
    """Returns what names a token by its text or, as OpenAI's completions, by bytes that are no text."""

    def name(token_id: int) -> str:
        raw = tokenizer.token_bytes(token_id)
        try:
            return raw.decode() or name_as_id(token_id)
        except UnicodeDecodeError:
            return f"bytes:{escape(raw)}"

    return name


def chat_logprobs(tokenizer: Tokenizer, tokens: Sequence[ScoredToken], *, as_ids: bool = False) -> dict[str, Any]:
    name = name_as_id if as_ids else tokenizer.token_text

    def entry(token_id: int, logprob: float) -> dict[str, Any]:
        return {
            "token": name(token_id),
            "logprob": _bound(logprob),
            "bytes": list(tokenizer.token_bytes(token_id)),
        }

    content = [
        {
            **entry(token.token_id, token.logprobs.chosen),
            "top_logprobs": [entry(token_id, value) for token_id, value in token.logprobs.top],
        }
        for token in tokens
        if token.logprobs is not None
    ]
    return {"content": content, "refusal": None}


def completion_logprobs(
    tokenizer: Tokenizer, tokens: Sequence[ScoredToken], *, as_ids: bool = False, most: int | None = None
) -> dict[str, Any]:
    """Returns the tokens' logprobs in the shape of completions, `most` of the likeliest for each.

    NB: the token that was chosen is always among the top ones, so there may be one more of them than asked for.
    """
    name = name_as_id if as_ids else build_completion_name(tokenizer)

    def top(token: ScoredToken) -> dict[str, float] | None:
        if token.logprobs is None:
            return None
        likeliest = {name(token_id): _bound(value) for token_id, value in reversed(token.logprobs.top[:most])}
        return dict(reversed(likeliest.items())) | {name(token.token_id): _bound(token.logprobs.chosen)}

    return {
        "tokens": [name(token.token_id) for token in tokens],
        "token_logprobs": [None if token.logprobs is None else _bound(token.logprobs.chosen) for token in tokens],
        "top_logprobs": [top(token) for token in tokens],
        "text_offset": [token.text_offset for token in tokens],
    }


def prompt_logprobs(
    tokenizer: Tokenizer, token_ids: Sequence[int], scores: Sequence[TokenLogprobs | None], *, most: int
) -> list[dict[str, Any] | None]:
    """Returns vLLM's list: for each token of the prompt the likeliest and itself, by their ids.

    The rank of a token that is not among the likeliest is not known.
    """

    def entry(token_id: int, logprob: float, rank: int | None) -> dict[str, Any]:
        return {"logprob": _bound(logprob), "rank": rank, "decoded_token": tokenizer.token_text(token_id)}

    def describe(chosen: int, score: TokenLogprobs) -> dict[str, Any]:
        ranks = {token_id: rank for rank, (token_id, _) in enumerate(score.top, 1)}
        found = {str(chosen): entry(chosen, score.chosen, ranks.get(chosen))}
        likeliest = enumerate(score.top[:most], 1)
        return found | {str(token_id): entry(token_id, value, rank) for rank, (token_id, value) in likeliest}

    known = [*scores, *[None] * (len(token_ids) - len(scores))]
    pairs = zip(token_ids, known, strict=True)
    return [None if score is None else describe(token_id, score) for token_id, score in pairs]


def _bound(logprob: float) -> float:
    return logprob if logprob > LOWEST and not math.isnan(logprob) else LOWEST
