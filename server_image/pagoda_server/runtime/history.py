"""What of a request makes a choice depend on more than the model's logits. Plain Python."""

from pagoda_server.engine.request import Request
from pagoda_server.wire import Sampling

NEVER = 1 << 62
"""A position that no sequence reaches."""
MAX_COUNTED = 16_383
"""A token that an answer has more often than this counts as if it had it so often."""


def has_penalties(sampling: Sampling) -> bool:
    """Returns whether a token's logit depends on how often it has come."""
    return (sampling.presence_penalty, sampling.frequency_penalty, sampling.repetition_penalty) != (0.0, 0.0, 1.0)


def holds_stop_back(request: Request, position: int) -> bool:
    """Returns whether the token at `position` of the sequence must be no stop token, for `min_tokens`.

    A constrained request's masks say so themselves: there a stop token comes early where nothing else is allowed.
    """
    num_output_tokens = position - request.num_prompt_tokens
    is_early = num_output_tokens < request.sampling.min_tokens
    return is_early and bool(request.stop_token_ids) and not request.is_constrained


def find_own_logits_end(request: Request) -> int:
    """Returns the position from which on tokens are chosen by the model's logits as they are: 0 for all of them."""
    sampling = request.sampling
    if (
        request.is_constrained
        or has_penalties(sampling)
        or sampling.logit_bias
        or sampling.bad_words
        or sampling.allowed_token_ids is not None
    ):
        return NEVER
    return request.num_prompt_tokens + sampling.min_tokens if request.stop_token_ids and sampling.min_tokens else 0
