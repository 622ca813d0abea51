"""What the engine needs of a device. `pagoda_server.runtime` has a runner for each kind, and one for several GPUs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from pagoda_server.engine.batch import Chunk
from pagoda_server.engine.constraint import Masks
from pagoda_server.wire import PromptLogprobs, TokenLogprobs

Sampled = tuple[int, TokenLogprobs | None]
"""A token, or one of the two that follow; with its log-probabilities if it was asked for."""
NO_BEST = -1
"""In place of a token: the model's logits are not finite."""
NOTHING_ALLOWED = -2
"""In place of a token: what the request itself asks for leaves none to choose."""


@dataclass(frozen=True, slots=True)
class PendingStep:
    """A step that was launched, and what the engine has to know of it until it is committed."""

    wait: Callable[[], list[Sampled]]
    """Waits for the step's end: the next token of each of its sampling chunks, in their order."""
    run_ahead: int = 0
    """How many steps may be in flight once this one is: 1, or 0 where the next needs this one's tokens on the host."""
    constrain: Callable[[Masks], None] | None = None
    """Where constrained requests sample: takes their masks, one a row, in the order of their chunks.

    It does not wait for the device. It is called once all earlier steps are committed, before the wait and before
    another launch; the tokens of these requests are chosen then.
    """
    scores: Callable[[], list[PromptLogprobs]] = list
    """After the wait: the log-probabilities of prompts, of each chunk that has any `num_scored`, in their order."""


class RunnerBroken(Exception):
    """The runner cannot take another step; the engine ends."""


class Runner(Protocol):
    """What the engine needs of a device: `pagoda_server.runtime` has one for each kind."""

    def launch(self, chunks: Sequence[Chunk]) -> PendingStep:
        """Writes keys and values of every chunk to its pages and chooses a token for each sampling chunk.

        Steps are worked on in the order in which they are launched. A chunk may begin at a token that the step before
        it chooses (`num_in_flight` of its request is 1 then): the device knows it. Raises `RunnerBroken`, as the wait
        may, when no later step can succeed either.
        """

    def prepare_next(self, *, idle: bool = True) -> bool:
        """Does one part, a fraction of a second long, of the preparation that was left for after the start.

        Not `idle`, requests wait for it: then only what steps have asked for. Returns False when none is left. No step
        may be in flight. What it raises costs speed, not answers, unless it is `RunnerBroken`.
        """
