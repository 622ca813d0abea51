"""A conversation that is too long for the context, with its beginning left out: `truncation` auto of the Responses API.

What goes is whole turns, the oldest first; system messages at the head stay.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from pagoda_server.dialog.turn import Message, Turn
from pagoda_server.http.errors import RequestError
from pagoda_server.http.turns import Fit, Prompt

Encode = Callable[[Turn, Fit], Prompt]
ANSWER_TOKENS = 256
"""The room that is left for an answer of no known length."""
MAX_ANSWER_SHARE = 0.25
"""Of the context, however long the answer may become."""


def encode_truncated(encode: Encode, turn: Turn, *, answer_tokens: int | None, limit: int) -> Prompt:
    """Returns the prompt of as much of the turn's end as fits. Raises `RequestError` where the last turn does not."""
    room = min(ANSWER_TOKENS if answer_tokens is None else answer_tokens, int(limit * MAX_ANSWER_SHARE))
    fit = Fit(limit - room)
    cuts = [0, *find_cuts(turn.messages)]
    too_long, fits, best = -1, len(cuts), None
    while fits - too_long > 1:
        middle = (too_long + fits) // 2 if too_long >= 0 else 0
        shortened = replace(turn, messages=drop(turn.messages, cuts[middle]))
        try:
            best, fits = encode(shortened, fit), middle
        except RequestError as error:
            if error.code != "context_length_exceeded" or middle == len(cuts) - 1:
                raise
            too_long = middle
    assert best is not None
    return best


def count_head(messages: Sequence[Message]) -> int:
    """Returns how many system messages stand first."""
    return next((at for at, message in enumerate(messages) if message["role"] != "system"), len(messages))


def find_cuts(messages: Sequence[Message]) -> list[int]:
    """Returns where a user's message begins a turn, but for the first one: what stands before it may go."""
    begins = [at for at, message in enumerate(messages) if message["role"] == "user"]
    return [at for at in begins if at > count_head(messages)]


def drop(messages: Sequence[Message], cut: int) -> Sequence[Message]:
    head = count_head(messages)
    return [*messages[:head], *messages[max(head, cut) :]]
