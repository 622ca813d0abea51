"""How many tokens were served lately, and how many wait.

Scaling acts on these figures, so they count work for clients only: prompt tokens found in the cache and tokens
recomputed after a preemption are not served again.
"""

from collections import deque
from collections.abc import Callable, Iterable

from pagoda_server.engine.request import Request


class ServedWindow:
    """Tokens a second over the last `window_seconds` of `clock` (seconds, monotonic)."""

    def __init__(self, clock: Callable[[], float], window_seconds: float = 5.0) -> None:
        self._clock = clock
        self._window_seconds = window_seconds
        self._steps: deque[tuple[float, int]] = deque()
        self._tokens = 0

    def add(self, num_tokens: int) -> None:
        self._steps.append((self._clock(), num_tokens))
        self._tokens += num_tokens

    def tokens_per_second(self) -> float:
        oldest = self._clock() - self._window_seconds
        while self._steps and self._steps[0][0] <= oldest:
            self._tokens -= self._steps.popleft()[1]
        return self._tokens / self._window_seconds


class AnswerLength:
    """The length answers tend to have, in tokens: what a waiting request is expected to add to the backlog."""

    def __init__(self, first_guess_tokens: float = 128.0, weight: float = 0.05) -> None:
        self._mean = first_guess_tokens
        self._weight = weight

    def observe(self, num_tokens: int) -> None:
        self._mean += self._weight * (num_tokens - self._mean)

    def expected_tokens(self, request: Request) -> int:
        return max(0, round(min(self._mean, request.sampling.max_tokens)) - request.num_output_tokens)


def count_backlog_tokens(waiting: Iterable[Request], running: Iterable[Request], answers: AnswerLength) -> int:
    """Counts the prompt tokens that nobody computed yet, and the answers that waiting requests are expected to get."""
    prompts = sum(request.num_unserved_prompt_tokens for group in (waiting, running) for request in group)
    return prompts + sum(answers.expected_tokens(request) for request in waiting)
