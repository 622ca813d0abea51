"""Requests that come whatever the answers do: Poisson arrivals, lengths of real traffic, on any OpenAI endpoint.

A closed loop asks less of an engine that is slow; here what it cannot do waits, as with real users. The lengths are
drawn from a trace, a CSV with the columns ContextTokens and GeneratedTokens (Azure's public ones, CC-BY 4.0:
github.com/Azure/AzurePublicDataset, AzureLLMInferenceTrace_conv.csv). A request keeps the objective when its first
token came in time, and its mean gap between tokens is short enough.
"""

import argparse
import asyncio
import csv
import json
import multiprocessing
import random
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.serving.http_load import (
    MAX_PROCESSES,
    START_SECONDS,
    Answer,
    Load,
    add_endpoint_arguments,
    ask,
    build_body,
    open_session,
    percentile_ms,
)
from bench.work.workload import LARGEST_TOKEN_ID


@dataclass(frozen=True, slots=True)
class Arrival:
    at_seconds: float
    """From the beginning."""
    tokens_in: int
    tokens_out: int
    seed: int
    """Of the prompt's tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    ttft_seconds: float = 0.5
    gap_seconds: float = 0.03


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenLoopReport:
    requests_per_second: float
    """Offered."""
    requests: int
    failed: int
    first_error: str
    output_tokens_per_second: float
    """Of the answers, from the first arrival to the last answer's end."""
    ttft_p50_ms: float
    ttft_p90_ms: float
    ttft_p99_ms: float
    mean_gap_p50_ms: float
    """Of the requests' own means."""
    mean_gap_p99_ms: float
    gap_p99_ms: float
    """Of all gaps."""
    within_objective: float
    """The share of all requests, failed ones too."""


def read_lengths(path: Path, *, max_tokens: int) -> list[tuple[int, int]]:
    """Returns the trace's pairs of prompt and answer tokens, but those that are longer than `max_tokens` together.

    Raises ValueError for a file without such columns or rows.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        try:
            pairs = [(int(row["ContextTokens"]), int(row["GeneratedTokens"])) for row in csv.DictReader(file)]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: no CSV with whole numbers in ContextTokens and GeneratedTokens") from error
    kept = [(prompt, answer) for prompt, answer in pairs if prompt > 0 < answer and prompt + answer <= max_tokens]
    if not kept:
        raise ValueError(f"{path}: no request of at most {max_tokens} tokens; raise --max-tokens")
    return kept


def plan_arrivals(
    lengths: Sequence[tuple[int, int]], *, requests_per_second: float, seconds: float, seed: int
) -> list[Arrival]:
    chooser = random.Random(seed)
    arrivals: list[Arrival] = []
    at = chooser.expovariate(requests_per_second)
    while at < seconds:
        arrivals.append(Arrival(at, *chooser.choice(lengths), seed=chooser.getrandbits(32)))
        at += chooser.expovariate(requests_per_second)
    return arrivals


def build_prompt(arrival: Arrival, largest_token_id: int) -> list[int]:
    chooser = random.Random(arrival.seed)
    return [chooser.randint(2, largest_token_id) for _ in range(arrival.tokens_in)]


async def drive_arrivals(load: Load, arrivals: Sequence[Arrival], start_at: float) -> list[Answer]:
    """Asks each in its time; `start_at` is the wall time at which the loop begins."""
    async with open_session(load.api_key) as session:

        async def ask_in_time(arrival: Arrival) -> Answer:
            body = build_body(load, build_prompt(arrival, load.largest_token_id))
            await asyncio.sleep(max(0.0, start_at + arrival.at_seconds - time.time()))
            return await ask(session, load.url, body | {"max_tokens": arrival.tokens_out})

        return list(await asyncio.gather(*map(ask_in_time, arrivals)))


def run_part(load: Load, arrivals: Sequence[Arrival], start_at: float) -> tuple[list[Answer], float]:
    """Returns one process's answers, and the wall time at which its last one ended."""
    return asyncio.run(drive_arrivals(load, arrivals, start_at)), time.time()


def run_open_loop(
    load: Load, arrivals: Sequence[Arrival], objective: Objective, *, requests_per_second: float
) -> OpenLoopReport:
    """Raises RuntimeError when no request succeeded."""
    processes = max(1, min(MAX_PROCESSES, len(arrivals)))
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        start_at = time.time() + START_SECONDS
        parts = [pool.submit(run_part, load, arrivals[index::processes], start_at) for index in range(processes)]
        results = [part.result() for part in parts]
    answers = [answer for part, _ in results for answer in part]
    seconds = max(end for _, end in results) - start_at
    return build_report(answers, objective, seconds=seconds, requests_per_second=requests_per_second)


def build_report(
    answers: Sequence[Answer], objective: Objective, *, seconds: float, requests_per_second: float
) -> OpenLoopReport:
    good = [answer for answer in answers if not answer.error]
    errors = [answer.error for answer in answers if answer.error]
    if not good:
        raise RuntimeError(f"all {len(errors)} requests failed; the first: {errors[:1]}")
    firsts = [answer.first_token for answer in good if answer.first_token is not None]
    means = [compute_mean_gap(answer) for answer in good if answer.gaps]
    return OpenLoopReport(
        requests_per_second=requests_per_second,
        requests=len(answers),
        failed=len(errors),
        first_error=errors[0] if errors else "",
        output_tokens_per_second=round(sum(answer.tokens for answer in good) / seconds, 1),
        ttft_p50_ms=percentile_ms(firsts, 50),
        ttft_p90_ms=percentile_ms(firsts, 90),
        ttft_p99_ms=percentile_ms(firsts, 99),
        mean_gap_p50_ms=percentile_ms(means, 50),
        mean_gap_p99_ms=percentile_ms(means, 99),
        gap_p99_ms=percentile_ms([gap for answer in good for gap in answer.gaps], 99),
        within_objective=round(sum(keeps(answer, objective) for answer in good) / len(answers), 4),
    )


def compute_mean_gap(answer: Answer) -> float:
    """Returns the mean time between tokens, in seconds; a chunk may hold several. 0 for one token."""
    return sum(answer.gaps) / (answer.tokens - 1) if answer.tokens > 1 else 0.0


def keeps(answer: Answer, objective: Objective) -> bool:
    in_time = answer.first_token is not None and answer.first_token <= objective.ttft_seconds
    return in_time and compute_mean_gap(answer) <= objective.gap_seconds


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench open-loop", description=__doc__)
    add_endpoint_arguments(parser)
    parser.add_argument("lengths", type=Path, help="the trace, a CSV")
    parser.add_argument("--rate", type=float, nargs="+", default=[8.0], help="requests a second, one run each")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long requests come (default %(default)s)")
    parser.add_argument("--max-tokens", type=int, default=8192, help="leaves longer requests out (%(default)s)")
    parser.add_argument("--ttft", type=float, default=0.5, help="the objective, in seconds (default %(default)s)")
    parser.add_argument("--gap", type=float, default=0.03, help="likewise, of a request's mean (default %(default)s)")
    parser.add_argument("--largest-token-id", type=int, default=LARGEST_TOKEN_ID, help="(default %(default)s)")
    args = parser.parse_args(argv)
    lengths = read_lengths(args.lengths, max_tokens=args.max_tokens)
    objective = Objective(ttft_seconds=args.ttft, gap_seconds=args.gap)
    for rate in args.rate:
        load = Load(
            url=args.url,
            model=args.model,
            streams=0,
            requests=0,
            api_key=args.api_key,
            largest_token_id=args.largest_token_id,
        )
        arrivals = plan_arrivals(lengths, requests_per_second=rate, seconds=args.seconds, seed=args.seed)
        print(json.dumps(asdict(run_open_loop(load, arrivals, objective, requests_per_second=rate))), flush=True)
    return 0
