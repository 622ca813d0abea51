"""What this device can serve, measured in a few steps at start: what autoscaling aims by until real load was seen."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from pagoda_server.engine.batch import Chunk, Limits
from pagoda_server.engine.capacity import Measured
from pagoda_server.engine.pace import StepCost
from pagoda_server.engine.pages import PagePool
from pagoda_server.engine.request import Request, RequestState
from pagoda_server.engine.runner import Runner
from pagoda_server.wire import Sampling

MAX_CONTEXT_TOKENS = 1024
PREFILL_TOKENS = 256
LONG_PROMPT_TOKENS = 8192
ENOUGH_RUNS = 3
"""Runs of the smallest and of the largest batch; the fastest counts."""
MIN_SECONDS = 1e-9


def measure_capacity(
    runner: Runner,
    limits: Limits,
    pool: PagePool,
    *,
    budget_seconds: float = 1.0,
    clock: Callable[[], float] = time.perf_counter,
) -> Measured | None:
    """Measures tokens per second, half of them prompts and half decoded, on scratch pages that are given back.

    The rate is the harmonic mean of two: decode by as many sequences as the engine runs at once, each in the middle of
    its share of the context (`choose_context`), and prefill of short prompts. It is not a promise for any other mix:
    long answers are slower, long prompts and cached prefixes faster, and nothing here waits for a client. A device too
    slow for a full batch within the budget is measured with a smaller one, which is less than it can do.
    `engine.capacity` corrects the figure by what is really served. What a step costs is the line through the smallest
    and the largest batch. Returns None when the pool has no free page. Call it before the engine serves: it writes to
    free pages. It takes at most the budget, the first use of what it runs and one step more; where a full batch is
    fast, a fraction of that.
    """
    requests = _build_scratch(limits, pool)
    if not requests:
        return None
    try:
        decode = [Chunk(request, request.num_prompt_tokens - 1, 1, is_sampled=True) for request in requests]
        prefill = _build_prefill(requests, limits.max_batched_tokens)
        for chunks in (decode[:1], prefill[:1], [*decode[:1], *prefill[1:2]]):
            runner.launch(chunks).wait()  # loads what a device loads at first use
        decode_times, prefill_times = (
            _time_batches(runner, chunks, budget_seconds / 2, clock) for chunks in (decode, prefill)
        )
        can_afford = 2 * ENOUGH_RUNS * prefill_times[1] < budget_seconds / 2
        pair_seconds = _measure_pair(runner, limits, pool, requests, clock) if can_afford else 0.0
    finally:
        for request in requests:
            pool.release(request.page_ids)
    return _evaluate(decode_times, prefill_times, decode[0].end, prefill[0].num_tokens, pair_seconds)


def _measure_pair(
    runner: Runner, limits: Limits, pool: PagePool, requests: Sequence[Request], clock: Callable[[], float]
) -> float:
    """Returns the seconds of attention for a pair of tokens, from a long prompt's last chunk and its first.

    The prompt lies on the pages of all `requests`. Returns 0 when they hold no long one.
    """
    page_ids = [page_id for request in requests for page_id in request.page_ids]
    num_tokens = min(LONG_PROMPT_TOKENS, limits.max_model_len - 1, len(page_ids) * pool.page_size)
    count = min(PREFILL_TOKENS, limits.max_batched_tokens)
    if num_tokens < 4 * count:
        return 0.0
    held = page_ids[: pool.pages_for(num_tokens)]
    prompt = replace(requests[0], token_ids=[0] * num_tokens, num_prompt_tokens=num_tokens, page_ids=held)
    begin, end = (
        _time_batches(runner, [Chunk(prompt, start, count, is_sampled=False)], math.inf, clock)[1]
        for start in (0, num_tokens - count)
    )
    return max(end - begin, 0.0) / (count * (num_tokens - count))


def _evaluate(
    decode_times: dict[int, float], prefill_times: dict[int, float], context: int, prompt: int, pair_seconds: float
) -> Measured:
    """Evaluates batches of 1-token chunks after `context` tokens, and batches of chunks of `prompt` tokens."""
    sequences, prompts = max(decode_times), max(prefill_times)
    decode_rate = sequences / decode_times[sequences]
    prefill_rate = prompts * prompt / prefill_times[prompts]
    base_seconds, sequence_seconds = _fit_line(decode_times)
    _, prompt_seconds = _fit_line(prefill_times)
    cost = StepCost(base_seconds, sequence_seconds / context, prompt_seconds / prompt, pair_seconds)
    return Measured(tokens_per_second=2.0 / (1.0 / decode_rate + 1.0 / prefill_rate), step_cost=cost)


def _fit_line(times: dict[int, float]) -> tuple[float, float]:
    """Returns the seconds of any batch and those of each chunk, by the smallest and the largest that were timed."""
    first, last = min(times), max(times)
    if first == last:
        return 0.0, times[first] / first
    slope = max((times[last] - times[first]) / (last - first), MIN_SECONDS)
    return max(times[first] - slope * first, 0.0), slope


def choose_context(limits: Limits, pool: PagePool, num_seqs: int) -> int:
    """Returns the tokens of each sequence: half of what the model and a fair share of pages allow, at most 1,024."""
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
    """Returns the prompts' beginnings, as many as one step takes."""
    num_tokens = min(PREFILL_TOKENS, budget_tokens, requests[0].num_prompt_tokens)
    count = budget_tokens // num_tokens
    return [Chunk(request, 0, num_tokens, is_sampled=False) for request in requests[:count]]


def _time_batches(
    runner: Runner, chunks: Sequence[Chunk], budget_seconds: float, clock: Callable[[], float]
) -> dict[int, float]:
    """Returns the fastest run's seconds by batch size, doubled from one chunk to the largest within the budget."""
    end = clock() + budget_seconds
    times: dict[int, float] = {}
    size, runs = 1, 0
    while True:
        begin = clock()
        runner.launch(chunks[:size]).wait()
        seconds = max(clock() - begin, MIN_SECONDS)
        times[size], runs = min(times.get(size, seconds), seconds), runs + 1
        next_size = min(2 * size, len(chunks))
        is_done = size == len(chunks) and runs == ENOUGH_RUNS
        if is_done or clock() + seconds * next_size / size > end:
            return times
        if next_size > size and runs == (ENOUGH_RUNS if size == 1 else 1):
            size, runs = next_size, 0
