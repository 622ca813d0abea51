"""What this device can serve, measured at start.

Autoscaling compares demand with it instead of with a number a person guessed.
"""

import time
from collections.abc import Callable
from typing import TypeVar

from pagoda_server.engine.pages import PagePool
from pagoda_server.engine.request import Request, RequestState
from pagoda_server.engine.scheduler import Chunk, Limits
from pagoda_server.engine.step import Runner
from pagoda_server.wire import Sampling

PROMPT_TOKENS = 64
LogitsT = TypeVar("LogitsT")


def measure_capacity(
    runner: Runner[LogitsT],
    limits: Limits,
    pool: PagePool,
    *,
    budget_seconds: float = 1.0,
    clock: Callable[[], float] = time.perf_counter,
) -> float | None:
    """Tokens a second over a mix of half prompt and half decoded tokens, on scratch pages that are given back.

    The rate is the harmonic mean of prefill's and decode's. None when the pool is too small for one scratch sequence.
    Call it before the engine serves: it writes to free pages.
    """
    requests = _build_scratch(limits, pool)
    if not requests:
        return None
    try:
        prefill = [Chunk(request, 0, request.num_prompt_tokens, samples=True) for request in requests]
        decode = [Chunk(request, request.num_prompt_tokens - 1, 1, samples=True) for request in requests]
        rates = [_measure_rate(runner, chunks, budget_seconds / 2, clock) for chunks in (prefill, decode)]
    finally:
        for request in requests:
            pool.release(request.page_ids)
    return 2.0 / sum(1.0 / rate for rate in rates)


def _build_scratch(limits: Limits, pool: PagePool) -> list[Request]:
    num_tokens = max(1, min(PROMPT_TOKENS, limits.max_model_len - 1))
    pages_each = pool.pages_for(num_tokens)
    num_seqs = min(limits.max_num_seqs, limits.max_num_batched_tokens // num_tokens, pool.num_free // pages_each)
    return [
        Request(
            request_id=f"scratch-{index}",
            token_ids=[(index * 7 + position) % limits.vocab_size for position in range(num_tokens)],
            num_prompt_tokens=num_tokens,
            sampling=Sampling(max_tokens=1, temperature=0.0),
            seed=index,
            state=RequestState.RUNNING,
            page_ids=pool.allocate(pages_each),
        )
        for index in range(num_seqs)
    ]


def _measure_rate(
    runner: Runner[LogitsT], chunks: list[Chunk], budget_seconds: float, clock: Callable[[], float]
) -> float:
    """The first run warms up and counts only when it alone spends the budget."""
    num_tokens = sum(chunk.num_tokens for chunk in chunks)
    begin = clock()
    _run(runner, chunks)
    first_seconds = clock() - begin
    runs, begin = 0, clock()
    while runs < 20 and clock() - begin + first_seconds < budget_seconds:
        _run(runner, chunks)
        runs += 1
    seconds = (clock() - begin) / runs if runs else first_seconds
    return num_tokens / max(seconds, 1e-9)


def _run(runner: Runner[LogitsT], chunks: list[Chunk]) -> None:
    runner.sample(chunks, runner.forward(chunks))
