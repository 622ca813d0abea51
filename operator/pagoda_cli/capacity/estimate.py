"""How many replicas a number of users needs, from what one replica was measured to do. Pure.

A replica's time is shared by prompts and answers: with r requests per second, prompts take r times the seconds of one,
and in what is left each decode step gives every running sequence a token. All of its time at the largest batch is its
capacity; a target below that leaves room for what comes at once and for the time until another replica is there.
"""

import math
from dataclasses import dataclass

from pagoda_cli.capacity.figures import Replica

MAX_SEQUENCES = 256


class EstimateError(ValueError):
    """The workload cannot be served so; the message names the option to change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    users: int
    """Who is active at the busiest time."""
    requests_per_hour: float
    """Those that each active user sends."""
    prompt_tokens: int
    """Those of a request, its history included."""
    cached_share: float
    """The share of the prompt's tokens that the prefix cache has."""
    answer_tokens: int

    @property
    def requests_per_second(self) -> float:
        return self.users * self.requests_per_hour / 3600


@dataclass(frozen=True, slots=True)
class Estimate:
    replicas: int
    requests_per_second: float
    demand_tokens_per_second: float
    """Computed prompt tokens and answer tokens: the unit of the autoscaler."""
    capacity_tokens_per_second: float
    """What one replica can do, for this mix."""
    streams: int
    """Answers under way at once, over all replicas."""
    gap_seconds: float
    """Between two tokens of a stream."""
    first_token_seconds: float
    """At least; nothing waits in a queue."""
    is_bound_by_memory: bool
    """Whether the KV cache, and not `MAX_SEQUENCES`, bounds the batch."""


def estimate(replica: Replica, load: Workload, *, utilization: float) -> Estimate:
    """Returns what `load` needs when each replica is used to `utilization` of its capacity. Raises EstimateError."""
    length = load.prompt_tokens + load.answer_tokens
    places = min(MAX_SEQUENCES, replica.kv_tokens // length)
    if places == 0:
        raise EstimateError(
            f"a request of {length:,} tokens does not fit into the {replica.kv_tokens:,} tokens of the KV cache: "
            "give a smaller --prompt-tokens, or --precision fp8"
        )
    cached = load.prompt_tokens * load.cached_share
    prefill_seconds = replica.prefill_seconds(load.prompt_tokens - cached, cached)
    context = load.prompt_tokens + load.answer_tokens / 2
    answer_seconds = load.answer_tokens * replica.decode_seconds(places, context) / places
    capacity = 1 / (prefill_seconds + answer_seconds)  # requests per second
    replicas = max(1, math.ceil(load.requests_per_second / (utilization * capacity)))
    rate = load.requests_per_second / replicas
    gap_seconds = _find_gap_seconds(replica, rate, load.answer_tokens, context, 1 - rate * prefill_seconds)
    tokens = load.prompt_tokens - cached + load.answer_tokens
    return Estimate(
        replicas=replicas,
        requests_per_second=load.requests_per_second,
        demand_tokens_per_second=load.requests_per_second * tokens,
        capacity_tokens_per_second=capacity * tokens,
        streams=math.ceil(load.requests_per_second * load.answer_tokens * gap_seconds),
        gap_seconds=gap_seconds,
        first_token_seconds=prefill_seconds + gap_seconds,
        is_bound_by_memory=places < MAX_SEQUENCES,
    )


def _find_gap_seconds(replica: Replica, rate: float, answer_tokens: int, context: float, free_share: float) -> float:
    """Returns the gap at which as many tokens come as are asked for.

    With B streams a step takes `base + B x cost` of the share of time that prompts leave free, and B is what Little's
    law says: the rate of tokens times the gap.
    """
    cost = replica.sequence_seconds + context * replica.context_token_seconds
    return replica.base_seconds / (free_share - rate * answer_tokens * cost)
