"""How many prompt tokens a step may take while other requests decode: a prompt must not stop the others' streams.

A step with prompts takes longer than one without, by a time that grows with their tokens. That time is held to a share
of a step's that only decodes, so the gap between two tokens grows by that share. The share is `PROMPT_SHARE` while few
wait for their first token, so one long prompt never doubles the gap. In a crowd it is larger: who waits for a first
token counts as `PROMPT_WEIGHT` of those who wait for a next one, because then the queue is what most people feel. Both
times are learnt from the steps themselves, as medians, so a step that was disturbed (by a compiler, a neighbour)
changes nothing.
"""

import statistics
from collections import deque

PROMPT_SHARE = 0.7
PROMPT_WEIGHT = 4
LEAST_PROMPT_TOKENS = 128
"""So few cost hardly more than none: until about 180 on Hopper, the weights' bytes take longer than the products."""
WINDOW_STEPS = 15


class Pace:
    """Knows nothing, and then limits nothing, until it has seen steps of both kinds."""

    def __init__(self) -> None:
        self._decode_seconds: dict[int, deque[float]] = {}
        """Of steps that only decode, by the bits of the batch size: doubling a batch is another kind of step."""
        self._prompt_token_seconds: deque[float] = deque(maxlen=WINDOW_STEPS)

    def observe(self, num_decodes: int, num_prompt_tokens: int, seconds: float) -> None:
        """A step and the time from the end of the one before it, or from its own launch, to its end."""
        if num_prompt_tokens == 0:
            steps = self._decode_seconds.setdefault(num_decodes.bit_length(), deque(maxlen=WINDOW_STEPS))
            steps.append(seconds)
        elif num_prompt_tokens >= LEAST_PROMPT_TOKENS:
            more_seconds = seconds - (self._find_decode_seconds(num_decodes) or 0.0)
            self._prompt_token_seconds.append(max(more_seconds, 0.0) / num_prompt_tokens)

    def limit_prompt_tokens(self, num_decodes: int, num_prompts: int) -> int | None:
        """For the next step, in which so many requests decode and so many want a first token. None: no limit."""
        decode_seconds = self._find_decode_seconds(num_decodes)
        if num_decodes == 0 or decode_seconds is None or not self._prompt_token_seconds:
            return None
        share = max(PROMPT_SHARE, PROMPT_WEIGHT * num_prompts / num_decodes)
        token_seconds = max(statistics.median(self._prompt_token_seconds), 1e-9)
        return max(LEAST_PROMPT_TOKENS, int(share * decode_seconds / token_seconds))

    def _find_decode_seconds(self, num_decodes: int) -> float | None:
        """Of the nearest size that was seen."""
        if num_decodes == 0 or not self._decode_seconds:
            return None
        size = min(self._decode_seconds, key=lambda seen: abs(seen - num_decodes.bit_length()))
        return statistics.median(self._decode_seconds[size])
