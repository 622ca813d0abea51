"""A device in simulated time: a runner that takes for a step what a function of its chunks says, and waits for nobody.

`bench.pacing` runs loads on it too.
"""

from collections.abc import Callable, Sequence
from functools import partial

from pagoda_server.engine.batch import Chunk
from pagoda_server.engine.pace import StepCost
from pagoda_server.engine.runner import PendingStep, Sampled

LLAMA_8B_ON_H200 = StepCost(base_seconds=0.0047, context_token_seconds=3.2e-8, prompt_token_seconds=2.6e-5)


class SimulatedRunner:
    """Implements `pagoda_server.engine.runner.Runner`: one step after another; `now` is when the last waited for ended.

    Each chooses token 1.
    """

    def __init__(self, count_seconds: Callable[[Sequence[Chunk]], float], run_ahead: int = 1) -> None:
        self.now = 0.0
        self._count_seconds, self._run_ahead, self._busy_until = count_seconds, run_ahead, 0.0

    def launch(self, chunks: Sequence[Chunk]) -> PendingStep:
        self._busy_until = end = max(self.now, self._busy_until) + self._count_seconds(chunks)

        def wait() -> list[Sampled]:
            self.now = max(self.now, end)
            return [(1, None) for chunk in chunks if chunk.is_sampled]

        return PendingStep(wait, self._run_ahead)

    def prepare_next(self, *, idle: bool = True) -> bool:
        return False


def count_seconds(cost: StepCost, chunks: Sequence[Chunk]) -> float:
    """Returns what a step of these chunks takes."""
    prompts = [chunk for chunk in chunks if chunk.num_tokens > 1]
    context_tokens = sum(chunk.end for chunk in chunks if chunk.num_tokens == 1)
    pairs = sum(chunk.num_tokens * (chunk.start + chunk.num_tokens / 2) for chunk in prompts)
    seconds = cost.base_seconds + cost.context_token_seconds * context_tokens + cost.prompt_pair_seconds * pairs
    return seconds + cost.prompt_token_seconds * sum(chunk.num_tokens for chunk in prompts)


def build_simulated_runner(cost: StepCost, run_ahead: int = 1) -> SimulatedRunner:
    return SimulatedRunner(partial(count_seconds, cost), run_ahead)
