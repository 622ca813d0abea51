"""What this device can serve, measured in a few steps at start: what autoscaling aims by until real load was seen."""

import math
import time
from collections.abc import Callable, Sequence

from pagoda_server.engine.pages import PagePool
from pagoda_server.engine.request import Request, RequestState
from pagoda_server.engine.scheduler import Chunk, Limits
from pagoda_server.engine.step import Runner
from pagoda_server.wire import Sampling

MAX_CONTEXT_TOKENS = 1024
PREFILL_TOKENS = 256
ENOUGH_RUNS = 3
"""Of the largest batch; the fastest counts."""


def measure_capacity(
    runner: Runner,
    limits: Limits,
    pool: PagePool,
    *,
    budget_seconds: float = 1.0,
    clock: Callable[[], float] = time.perf_counter,
) -> float | None:
    """Tokens a second over a mix of half prompt and half decoded tokens, on scratch pages that are given back.

    It is the harmonic mean of two rates: decode by as many sequences as the engine runs at once, each in the middle of
    its share of the context (`choose_context`), and prefill of short prompts. It is not a promise for any other mix:
    long answers are slower, long prompts and cached prefixes faster, and nothing here waits for a client. A device too
    slow for a full batch within the budget is measured with a smaller one, which is less than it can do.
    `engine.capacity` corrects the figure by what is really served. None when the pool has no free page.
    Call it before the engine serves: it writes to free pages. It takes at most the budget, the first use of what it
    runs and one step more; where a full batch is fast, a fraction of that.
    """
    requests = _build_scratch(limits, pool)
    if not requests:
        return None
    try:
        decode = [Chunk(request, request.num_prompt_tokens - 1, 1, samples=True) for request in requests]
        prefill = _build_prefill(requests, limits.max_num_batched_tokens)
        for chunks in (decode, prefill):
            runner.launch(chunks[:1])()  # loads what a device loads at first use
        rates = [_measure_rate(runner, chunks, budget_seconds / 2, clock) for chunks in (decode, prefill)]
    finally:
        for request in requests:
            pool.release(request.page_ids)
    return 2.0 / sum(1.0 / rate for rate in rates)


def choose_context(limits: Limits, pool: PagePool, num_seqs: int) -> int:
    """Tokens of each sequence: half of what the model and a fair share of the pages allow, at most 1,024."""
    share_tokens = pool.num_free // num_seqs * pool.page_size
    return max(1, min(MAX_CONTEXT_TOKENS, limits.max_model_len // 2, share_tokens // 2))


def _build_scratch(limits: Limits, pool: PagePool) -> list[Request]:
    num_seqs = min(limits.max_num_seqs, pool.num_free)
    if num_seqs == 0:
        return []
    num_tokens = choose_context(limits, pool, num_seqs)
    return [
        Request(
            request_id=f"scratch-{index}",
            token_ids=[(index * 7 + position) % limits.vocab_size for position in range(num_tokens)],
            num_prompt_tokens=num_tokens,
            sampling=Sampling(max_tokens=1, temperature=0.0),
            seed=index,
            state=RequestState.RUNNING,
            row=index,
            page_ids=pool.allocate(pool.pages_for(num_tokens)),
        )
        for index in range(num_seqs)
    ]


def _build_prefill(requests: Sequence[Request], budget_tokens: int) -> list[Chunk]:
    """The prompts' beginnings, as many as one step takes."""
    num_tokens = min(PREFILL_TOKENS, budget_tokens, requests[0].num_prompt_tokens)
    count = budget_tokens // num_tokens
    return [Chunk(request, 0, num_tokens, samples=False) for request in requests[:count]]


def _measure_rate(runner: Runner, chunks: Sequence[Chunk], budget_seconds: float, clock: Callable[[], float]) -> float:
    """Of the largest batch that the budget allows, doubled from one chunk; its fastest run, the least disturbed."""
    end = clock() + budget_seconds
    size, fastest, runs = 1, math.inf, 0
    while True:
        begin = clock()
        runner.launch(chunks[:size])()
        seconds = clock() - begin
        fastest, runs = min(fastest, seconds), runs + 1
        next_size = min(2 * size, len(chunks))
        is_done = size == len(chunks) and runs == ENOUGH_RUNS
        if is_done or clock() + seconds * next_size / size > end:
            return sum(chunk.num_tokens for chunk in chunks[:size]) / max(fastest, 1e-9)
        if next_size > size:
            size, fastest, runs = next_size, math.inf, 0
