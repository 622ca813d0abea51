"""What a long prompt costs the streams beside it, on any OpenAI endpoint: `python -m bench interference`.

Streams decode, first alone, then while one long prompt after another is answered with a single token. The figure is the
99th percentile of the gaps between two chunks of a stream, in both cases, and the ratio of the two.
"""

import argparse
import asyncio
import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

from bench.serving.http_load import Load, Report, ask_once, run_load
from bench.work.workload import build_uniform

STREAMS, TOKENS_IN, TOKENS_OUT, LONG_TOKENS = 32, 128, 512, 8000
RunLoad = Callable[[Load], Report]


@dataclass(frozen=True, slots=True, kw_only=True)
class LongPrompts:
    tokens: int = LONG_TOKENS
    """How long each prompt is."""
    pause_seconds: float = 0.0
    """Between the answer to one and the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interference:
    """One round. Times in milliseconds."""

    alone_itl_p99_ms: float
    disturbed_itl_p99_ms: float
    long_prompts: int
    """Answered while the streams ran, from just before they began."""
    failed: int
    """Over all requests."""
    first_error: str

    @property
    def ratio(self) -> float:
        return round(self.disturbed_itl_p99_ms / self.alone_itl_p99_ms, 3)


def build_load(url: str, model: str) -> Load:
    return Load(url=url, model=model, streams=STREAMS, requests=STREAMS, tokens_in=TOKENS_IN, tokens_out=TOKENS_OUT)


def measure_interference(load: Load, prompts: LongPrompts, run: RunLoad = run_load) -> Interference:
    """Raises RuntimeError when no stream or no long prompt was answered, or the answers do not come in pieces."""
    alone = run(load)
    if not alone.itl_p99_ms > 0:
        raise RuntimeError(f"{load.url} answers in one piece: there is no time between tokens to measure")
    disturbed, errors = asyncio.run(run_disturbed(replace(load, seed=load.seed + 1), prompts, run))
    failures = [error for error in (alone.first_error, disturbed.first_error, *errors) if error]
    answered = sum(not error for error in errors)
    if not answered:
        raise RuntimeError(f"no long prompt was answered by {load.url}; the first error: {errors[:1]}")
    return Interference(
        alone_itl_p99_ms=alone.itl_p99_ms,
        disturbed_itl_p99_ms=disturbed.itl_p99_ms,
        long_prompts=answered,
        failed=alone.failed + disturbed.failed + len(errors) - answered,
        first_error=failures[0] if failures else "",
    )


async def run_disturbed(load: Load, prompts: LongPrompts, run: RunLoad) -> tuple[Report, list[str]]:
    """Returns the streams' report, and the error of each long prompt, empty for those answered."""
    ended = asyncio.Event()
    disturbing = asyncio.create_task(ask_long_prompts(load, prompts, ended))
    try:
        report = await asyncio.to_thread(run, load)
    finally:
        ended.set()
        errors = await disturbing
    return report, errors


async def ask_long_prompts(load: Load, prompts: LongPrompts, ended: asyncio.Event) -> list[str]:
    """Asks one after another until `ended`, at least one. Returns the error of each, empty for those answered."""
    errors: list[str] = []
    while not ended.is_set():
        seed = load.seed * 1000 + len(errors)
        [prompt] = build_uniform(1, prompts.tokens, 1, seed=seed).prompts
        answer = await ask_once(replace(load, tokens_out=1), prompt)
        errors.append(answer.error)
        # A server that refuses at once must not be asked in a busy loop.
        pause = max(prompts.pause_seconds, 1.0 if answer.error else 0.0)
        if pause:
            await wait_for(ended, pause)
    return errors


async def wait_for(ended: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(ended.wait(), seconds)
    except TimeoutError:
        return


def measure_rounds(load: Load, prompts: LongPrompts, rounds: int, run: RunLoad = run_load) -> list[Interference]:
    """Measures after a warm-up of each kind, which compiles what either needs."""
    measure_interference(replace(load, tokens_out=16), prompts, run)
    return [measure_interference(replace(load, seed=load.seed + 2 + 2 * each), prompts, run) for each in range(rounds)]


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench interference", description=__doc__)
    parser.add_argument("url")
    parser.add_argument("model")
    parser.add_argument("--streams", type=int, default=STREAMS, help="that decode (default %(default)s)")
    parser.add_argument("--tokens-out", type=int, default=TOKENS_OUT, help="of each stream (default %(default)s)")
    parser.add_argument("--long-tokens", type=int, default=LONG_TOKENS, help="of a long prompt (default %(default)s)")
    parser.add_argument("--pause-seconds", type=float, default=0.0, help="between long prompts (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="whose median counts (default %(default)s)")
    args = parser.parse_args(argv)
    load = replace(
        build_load(args.url, args.model), streams=args.streams, requests=args.streams, tokens_out=args.tokens_out
    )
    prompts = LongPrompts(tokens=args.long_tokens, pause_seconds=args.pause_seconds)
    rounds = measure_rounds(load, prompts, args.rounds)
    for one in rounds:
        print(json.dumps(asdict(one) | {"ratio": one.ratio}))
    print(json.dumps({"median_ratio": statistics.median(one.ratio for one in rounds)}))
    return 0
