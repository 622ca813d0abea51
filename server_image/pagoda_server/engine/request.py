"""One request's state while the engine holds it. Only the scheduler and the commit of a step change it."""

import math
from dataclasses import dataclass, field
from enum import Enum

from pagoda_server.engine.constraint import Constraint
from pagoda_server.wire import FinishReason, Sampling


class RequestState(Enum):
    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"


@dataclass(slots=True, eq=False, kw_only=True)
class Request:
    request_id: str
    token_ids: list[int]
    """The prompt, then the tokens chosen so far."""
    num_prompt_tokens: int
    sampling: Sampling
    seed: int
    """Keys the noise of sampling, with the position: the same whatever the batch."""
    stop_token_ids: frozenset[int] = frozenset()
    """Tokens that end the answer: the request's own and, unless ignored, the model's end of sequence."""
    is_constrained: bool = False
    """Masks say which tokens may come next."""
    constraint: Constraint | None = None
    """What they are filled by, where the engine is: it has accepted the answer's tokens that the host knows."""
    tenant: str = ""
    """Prefixes are shared within it only, and tenants take turns."""
    prefix_salt: str = ""
    """Within the tenant, prefixes are shared only where it is the same; turns know nothing of it."""
    group: str = ""
    """The sequences of one HTTP request: within a tenant groups take turns."""
    arrival: int = 0
    """Its number in the order in which requests came."""
    wait_until: float = math.inf
    """Seconds of the engine's clock: `deadlines.py`."""
    is_streamed: bool = True
    state: RequestState = RequestState.WAITING
    finish_reason: FinishReason | None = None
    num_in_flight: int = 0
    """Tokens that the device has chosen, or will, and the host does not know yet: 0 or 1."""
    num_computed_tokens: int = 0
    """Tokens whose keys and values lie in `page_ids` once the steps in flight are done; never all of `num_tokens`."""
    cost: int = 0
    """While it runs: what it counts for when turns are taken."""
    row: int = -1
    """Where the device keeps this request's state while it runs."""
    num_cached_tokens: int = 0
    """Prompt tokens found in the prefix cache when the request was first admitted."""
    num_served_prompt_tokens: int = 0
    """High-water mark of the prompt: recomputing after a preemption is not served again."""
    num_scored_tokens: int = 0
    """Prompt tokens whose log-probabilities were given out, if they are asked for."""
    num_admissions: int = 0
    """How often it was taken from the queue: once, and again after each preemption."""
    was_counted: bool = False
    """Its prompt is in the totals of `Stats`."""
    submitted_at: float = 0.0
    """Seconds of the engine's clock, as are the two that follow."""
    started_at: float | None = None
    """When its first step was launched, known once that is committed."""
    first_token_at: float | None = None
    page_ids: list[int] = field(default_factory=list)
    page_digests: list[bytes] = field(default_factory=list)
    """The prefix cache's chain: one digest per full, computed page."""

    @property
    def num_tokens(self) -> int:
        return len(self.token_ids) + self.num_in_flight

    @property
    def num_pending_tokens(self) -> int:
        return self.num_tokens - self.num_computed_tokens

    @property
    def num_output_tokens(self) -> int:
        """Returns how many tokens of the answer the host knows."""
        return len(self.token_ids) - self.num_prompt_tokens

    @property
    def wants_tokens(self) -> bool:
        """Returns False when the tokens in flight are the last it may have.

        A request for its prompt's log-probabilities alone has one chosen too, which nobody hears of: its end.
        """
        return self.num_tokens - self.num_prompt_tokens < max(1, self.sampling.max_tokens)

    @property
    def is_decoding(self) -> bool:
        """Returns whether, while it runs, its next token needs nothing computed but the last one."""
        return self.num_pending_tokens <= 1 and self.wants_tokens

    @property
    def wants_scores(self) -> bool:
        """Returns whether its prompt has to be computed, all of it, for the log-probabilities of its tokens."""
        is_asked = self.sampling.prompt_logprobs is not None
        return is_asked and self.num_scored_tokens < self.num_prompt_tokens - 1

    @property
    def num_unserved_prompt_tokens(self) -> int:
        return self.num_prompt_tokens - self.num_served_prompt_tokens


def find_finish_reason(request: Request) -> FinishReason | None:
    """Returns why the newest token ends the request, if it does.

    `min_tokens` holds stop tokens back here too, in case every other token is masked; but not for a constrained
    request, whose masks hold them back unless nothing else may come.
    """
    is_long_enough = request.is_constrained or request.num_output_tokens > request.sampling.min_tokens
    if request.token_ids[-1] in request.stop_token_ids and is_long_enough:
        return "stop"
    if request.num_output_tokens >= request.sampling.max_tokens:
        return "length"
    return None
