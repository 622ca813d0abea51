"""What this device can serve, measured in a few steps at start: what autoscaling aims by until real load was seen."""

import time
from collections.abc import Callable, Mapping, Sequence
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
"""Runs of the smallest and of the largest batch on a steady device; the fastest counts."""
STEADY = 1.1
"""The most that the second fastest run may take, as a multiple of the fastest, where nobody else uses the device."""
NO_SLOWER = 1.5
"""The most that a token of the full batch may take there, as a multiple of one of a smaller batch."""
MIN_SECONDS = 1e-9


def measure_capacity(
    runner: Runner,
    limits: Limits,
    pool: PagePool,
    *,
    budget_seconds: float = 4.0,
    clock: Callable[[], float] = time.perf_counter,
) -> Measured | None:
    """Measures tokens per second, half of them prompts and half decoded, on scratch pages that are given back.

    The rate is the harmonic mean of two: decode by as many sequences as the engine runs at once, each in the middle of
    its share of the context (`choose_context`), and prefill of short prompts. It is not a promise for any other mix:
    long answers are slower, long prompts and cached prefixes faster, and nothing here waits for a client.

    Whatever else uses the device only makes a run slower, and a smaller batch is no faster for each of its tokens. So
    the best rate of all runs and sizes counts, and is never more than the device can do: short runs slip between the
    work of others, and a device too slow for a full batch within the budget is measured with a smaller one.
    `engine.capacity` corrects the figure by what is really served. What a step costs is the line through the smallest
    and the largest batch. Returns None when the pool has no free page. Call it before the engine serves: it writes to
    free pages. It takes at most the budget, the first use of what it runs and one step more; where a full batch is
    fast and its runs agree, a fraction of that.
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
            _time_batches(runner, chunks, budget_seconds * 3 / 8, clock) for chunks in (decode, prefill)
        )
        pair_seconds = _measure_pair(runner, limits, pool, requests, budget_seconds / 8, clock)
    finally:
        for request in requests:
            pool.release(request.page_ids)
    return _evaluate(decode_times, prefill_times, decode[0].end, prefill[0].num_tokens, pair_seconds)


def _measure_pair(
    runner: Runner,
    limits: Limits,
    pool: PagePool,
    requests: Sequence[Request],
    budget_seconds: float,
    clock: Callable[[], float],
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
        _time_batches(runner, [Chunk(prompt, start, count, is_sampled=False)], budget_seconds / 2, clock)[1]
        for start in (0, num_tokens - count)
    )
    return max(end - begin, 0.0) / (count * (num_tokens - count))


def _evaluate(
    decode_times: dict[int, float], prefill_times: dict[int, float], context: int, prompt: int, pair_seconds: float
) -> Measured:
    """Evaluates batches of 1-token chunks after `context` tokens, and batches of chunks of `prompt` tokens."""
    decode_rate = max(size / seconds for size, seconds in decode_times.items())
    prefill_rate = max(size * prompt / seconds for size, seconds in prefill_times.items())
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
    """Returns the fastest run's seconds by batch size, doubled from one chunk to the largest within the budget.

    Where runs of one batch disagree, somebody else uses the device: then all sizes are run until the budget is spent.
    """
    end = clock() + budget_seconds
    runs: dict[int, list[float]] = {}

    def run(size: int) -> None:
        begin = clock()
        runner.launch(chunks[:size]).wait()
        runs[size] = sorted([*runs.get(size, ()), max(clock() - begin, MIN_SECONDS)])

    def can_run(size: int) -> bool:
        tried = max((one for one in runs if one <= size), default=size)
        return not runs or clock() + runs[tried][0] * size / tried <= end

    for size in _double(len(chunks)):
        for _ in range(ENOUGH_RUNS if size in (1, len(chunks)) else 1):
            if can_run(size):
                run(size)
    while not _are_steady(runs, len(chunks)) and any(map(can_run, runs)):
        for size in filter(can_run, list(runs)):
            run(size)
    return {size: seconds[0] for size, seconds in runs.items()}


def _double(end: int) -> list[int]:
    """Returns 1, 2, 4 and so on, and `end`."""
    return [*(2**power for power in range((end - 1).bit_length())), end]


def _are_steady(runs: Mapping[int, Sequence[float]], full: int) -> bool:
    if full not in runs:
        return False
    token_seconds = {size: seconds[0] / size for size, seconds in runs.items()}
    agree = all(len(runs[size]) >= ENOUGH_RUNS and runs[size][1] <= STEADY * runs[size][0] for size in (1, full))
    return agree and token_seconds[full] <= NO_SLOWER * min(token_seconds.values())
