"""How many prompt tokens a step may take while other answers are streamed: a prompt must not stop them.

A step with prompts takes longer than one without, by a time that grows with their tokens. That time is held to a share
of a step's that only decodes, so the gap between two tokens grows by that share. The share is `PROMPT_SHARE` while one
request waits for its first token, so one long prompt does not double the gap where `MIN_PROMPT_TOKENS` do not. For
each more that waits it grows: each counts as `PROMPT_WEIGHT` of those who wait for a next token, of whom at most
`MAX_COUNTED_DECODES` are counted, because in a crowd the queue is what most people feel, and because full batches serve
everyone sooner. That is also why answers that come whole, whose gaps nobody sees, hold no prompt back by themselves.
"""

import math
from dataclasses import dataclass

from pagoda_server.engine.scheduler import Scheduler

PROMPT_SHARE = 0.7
PROMPT_WEIGHT = 16
MAX_COUNTED_DECODES = 48
"""So that beside hundreds of others a dozen prompts are not let in one by one."""
MIN_PROMPT_TOKENS = 64
"""So few cost hardly more than none but for attention: the weights' bytes take longer than the products."""
MIN_LATE_PROMPT_TOKENS = 16
"""After a context so long that attention costs a token more than all else. Fewer are less than a tile of its kernel."""


@dataclass(frozen=True, slots=True)
class StepCost:
    """What a step takes on this device, as a sum: measured at start (`start.measure_capacity`)."""

    base_seconds: float
    context_token_seconds: float
    """For each token in the contexts of the requests that decode."""
    prompt_token_seconds: float
    prompt_pair_seconds: float = 0.0
    """For each pair of a prompt's token and one before it, which attention works through."""


def find_prompt_limit(cost: StepCost | None, scheduler: Scheduler) -> int | None:
    """Returns the maximum of prompt tokens in the next step; None where nothing is to be held back.

    That is without a cost, without prompts, and while nobody who decodes has the answer streamed.
    """
    begun = [request.num_computed_tokens for request in scheduler.running if request.num_pending_tokens > 1]
    if cost is None or not (begun or scheduler.waiting):
        return None
    decodes = [request for request in scheduler.running if request.is_decoding]
    if not any(request.is_streamed for request in decodes):
        return None
    return limit_prompt_tokens(
        cost,
        num_context_tokens=sum(request.num_tokens for request in decodes),
        num_decodes=len(decodes),
        num_prompts=len(begun) + scheduler.count_startable(),
        num_done_tokens=begun[0] if begun else 0,
    )


def limit_prompt_tokens(
    cost: StepCost, num_context_tokens: int, num_decodes: int, num_prompts: int, num_done_tokens: int = 0
) -> int:
    """Returns how many prompt tokens a step may take beside `num_decodes` requests that decode, at least one.

    Their contexts hold `num_context_tokens` together. `num_prompts` requests want a first token and could have one; of
    the first of them `num_done_tokens` are computed.
    """
    share = max(PROMPT_SHARE, PROMPT_WEIGHT * (num_prompts - 1) / min(num_decodes, MAX_COUNTED_DECODES))
    decode_seconds = cost.base_seconds + cost.context_token_seconds * num_context_tokens
    seconds, pair_seconds = share * decode_seconds, cost.prompt_pair_seconds
    attention_seconds = pair_seconds * num_done_tokens
    # n tokens take n * first + n * n / 2 * pair seconds
    first_seconds = cost.prompt_token_seconds + attention_seconds
    num_tokens = 2.0 * seconds / (first_seconds + math.sqrt(first_seconds**2 + 2.0 * pair_seconds * seconds))
    minimum = MIN_PROMPT_TOKENS if attention_seconds <= cost.prompt_token_seconds else MIN_LATE_PROMPT_TOKENS
    return max(minimum, int(num_tokens))
