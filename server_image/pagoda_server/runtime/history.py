"""Which choices of a token depend on the tokens so far, and so on more than the logits. Plain Python."""

from pagoda_server.wire import Sampling


def has_penalties(sampling: Sampling) -> bool:
    """Returns whether a token's logit depends on how often it has come."""
    return (sampling.presence_penalty, sampling.frequency_penalty, sampling.repetition_penalty) != (0.0, 0.0, 1.0)


def holds_stop_back(sampling: Sampling, stop_token_ids: frozenset[int], num_output_tokens: int) -> bool:
    """Returns whether `min_tokens` masks the stop tokens for the token that comes after `num_output_tokens`."""
    return num_output_tokens < sampling.min_tokens and bool(stop_token_ids)
