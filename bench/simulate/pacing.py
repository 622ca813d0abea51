"""What pacing does to those who wait, in simulated time: `python -m bench pacing`, on any machine, in seconds.

The engine itself works through the closed loop of `http_load.py`, on a device that takes for a step what a `StepCost`
says: an 8B model's on an H200, if not told otherwise. Left out are the host, HTTP, and what a step is padded with.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict

from bench.serving.http_load import Answer, Load, Report, add_load_arguments, build_report
from pagoda_server.engine.batch import Limits
from pagoda_server.engine.capacity import Measured
from pagoda_server.engine.engine import Engine
from pagoda_server.engine.pace import StepCost
from pagoda_server.engine.pages import PagePool
from pagoda_server.wire import Sampling, Submit
from tests.doubles.simulated import LLAMA_8B_ON_H200, build_simulated_runner

PAGE_SIZE = 64


def simulate(load: Load, cost: StepCost, *, max_batched_tokens: int = 2048, is_streamed: bool = True) -> Report:
    """Keeps `load.streams` requests under way; `is_streamed` is what their clients ask for."""
    device, length = build_simulated_runner(cost), load.tokens_in + load.tokens_out
    limits = Limits(length, load.streams, max_batched_tokens, vocab_size=10)
    pool = PagePool(load.streams * -(-length // PAGE_SIZE), PAGE_SIZE)
    measured = Measured(step_cost=cost)
    engine = Engine(device, limits, pool, prefix_caching=False, measured=measured, clock=lambda: device.now)
    sampling = Sampling(max_tokens=load.tokens_out, temperature=0.0)
    answers, last_seen = list[Answer](), list[float]()

    def ask() -> None:
        if len(answers) < load.requests:
            request = Submit(str(len(answers)), [1] * load.tokens_in, sampling, is_streamed=is_streamed)
            assert engine.submit(request) is None
            answers.append(Answer())
            last_seen.append(device.now)

    for _ in range(load.streams):
        ask()
    while engine.has_work:
        for delta in engine.step():
            index = int(delta.request_id)
            answers[index].add_wait(device.now - last_seen[index])
            answers[index].tokens += len(delta.token_ids)
            last_seen[index] = device.now
            if delta.finish_reason is not None:
                ask()
    return build_report(load, answers, device.now)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench pacing", description=__doc__)
    usual = LLAMA_8B_ON_H200
    add_load_arguments(parser, streams=256, requests=1024)
    parser.add_argument("--max-batched-tokens", type=int, default=2048, help="of one step (default %(default)s)")
    parser.add_argument("--whole", action="store_true", help="answers are not streamed")
    costs = {
        "--base-ms": (usual.base_seconds * 1e3, "of any step"),
        "--context-ns": (usual.context_token_seconds * 1e9, "of a token in a decode's context"),
        "--prompt-us": (usual.prompt_token_seconds * 1e6, "of a prompt's token"),
    }
    for name, (default, what) in costs.items():
        parser.add_argument(name, type=float, default=default, help=f"{what} (default %(default)s)")
    args = parser.parse_args(argv)
    if args.streams > args.requests:
        parser.error(f"--requests is {args.requests} and --streams {args.streams}; give at least as many requests")
    if args.max_batched_tokens < args.streams:
        parser.error(f"--max-batched-tokens is {args.max_batched_tokens}; give at least --streams, {args.streams}")
    cost = StepCost(args.base_ms * 1e-3, args.context_ns * 1e-9, args.prompt_us * 1e-6)
    sizes = {"tokens_in": args.tokens_in, "tokens_out": args.tokens_out}
    load = Load(url="", model="", streams=args.streams, requests=args.requests, **sizes)
    report = simulate(load, cost, max_batched_tokens=args.max_batched_tokens, is_streamed=not args.whole)
    print(json.dumps(asdict(report)))
    return 0
