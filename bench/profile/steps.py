"""Where a step of our engine spends its time: `python -m bench profile MODEL FOLDER`, on a CUDA GPU.

A few steps are profiled by torch.profiler (CUPTI sees every kernel, also those within a CUDA graph) and averaged. Bytes
are the minimum that a role must move; their rate and its share are of what a large copy reaches on this GPU. As
profiling costs time, the step's wall time is measured before it, without. With `--tensor-parallel N` it is the first of
the GPUs: bytes and arithmetic are the model's divided by N, and a kernel's time is also that of waiting for the others.
"""

import argparse
import os
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from bench.offline.pagoda import DECODE_STEPS, add_engine_arguments, begin_decode, build_engine, submit
from bench.profile.roles import KernelEvent
from bench.profile.table import render_profile, summarise
from bench.report.measurement import describe_environment, read_gpu_name
from bench.work.arguments import add_shape_arguments
from bench.work.costs import compute_decode_costs, compute_prefill_costs
from bench.work.limits import GPUS, Rates, name_gpus
from bench.work.shapes import SHAPES
from bench.work.workload import DecodePoint, build_uniform

if TYPE_CHECKING:
    from torch.profiler import profile

    from pagoda_server.engine.engine import Engine

WARM_UP_STEPS, MAX_STEPS = 8, 128
MIN_PREFILL_TOKENS = 256
"""A step holds at least so many: of shorter prompts several would share one."""
RunSteps = Callable[[int], None]


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench profile", description=__doc__)
    add_shape_arguments(parser)
    parser.add_argument("--precision", choices=("bf16", "fp8"), default="bf16", help="fp8: weights and KV cache")
    parser.add_argument("--batch", type=int, default=1, help="sequences that decode (default %(default)s)")
    parser.add_argument("--context", type=int, default=1024, help="tokens of each, about (default %(default)s)")
    parser.add_argument("--prefill", type=int, metavar="N", help="profile a prompt of N tokens instead of decode")
    parser.add_argument("--steps", type=int, default=32, help=f"profiled, maximum {MAX_STEPS} (default %(default)s)")
    add_engine_arguments(parser)
    return parser


def prepare_decode(engine: "Engine", point: DecodePoint) -> RunSteps:
    """Returns what runs steps in each of which every sequence decodes."""
    begin_decode(engine, point)

    def run(num_steps: int) -> None:
        for _ in range(num_steps):
            engine.step()

    return run


def prepare_prefill(engine: "Engine", length: int) -> RunSteps:
    """Returns what runs prompts of all tokens that a step may hold, so each is a step of its own."""

    def run(num_steps: int) -> None:
        submit(engine, build_uniform(num_steps, length, 1))
        while engine.has_work:
            engine.step()

    return run


def time_steps(run: RunSteps, num_steps: int) -> float:
    """Returns the seconds of a step, until the GPU is done."""
    import torch

    torch.cuda.synchronize()
    begin = time.perf_counter()
    run(num_steps)
    torch.cuda.synchronize()
    return (time.perf_counter() - begin) / num_steps


def profile_steps(run: RunSteps, num_steps: int) -> list[KernelEvent]:
    import torch
    from torch.profiler import ProfilerActivity, profile, schedule

    phases = schedule(wait=0, warmup=1, active=1)
    with profile(activities=[ProfilerActivity.CUDA], schedule=phases, acc_events=True) as profiler:
        run(WARM_UP_STEPS)
        torch.cuda.synchronize()
        profiler.step()
        run(num_steps)
        torch.cuda.synchronize()
    return read_events(profiler)


def read_events(profiler: "profile") -> list[KernelEvent]:
    """Returns what ran on the GPU, in no order, without annotations of the profiler itself."""
    events = profiler.events() or ()  # type: ignore[no-untyped-call]
    return [
        KernelEvent(event.name, event.time_range.start, event.time_range.end)
        for event in events
        if event.device_type.name == "CUDA" and not event.is_user_annotation
    ]


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = build_parser()
    args = parser.parse_args(argv)
    if not 1 <= args.steps <= MAX_STEPS:
        parser.error(f"--steps is {args.steps}; give 1 to {MAX_STEPS}, so that every sequence decodes in all of them")
    if args.prefill is not None:
        if args.prefill < MIN_PREFILL_TOKENS:
            parser.error(f"--prefill is {args.prefill}; give at least {MIN_PREFILL_TOKENS}")
        args.max_batched_tokens = args.prefill
    elif args.batch < 1 or args.context < DECODE_STEPS:
        parser.error(f"--batch is {args.batch} and --context {args.context}; give at least 1 and {DECODE_STEPS}")
    return args


def print_header(args: argparse.Namespace, work: str, gpu: str, rates: Rates | None) -> None:
    print(f"{args.model} {args.precision}, {work}: {gpu}, {describe_environment()}")
    if rates:
        memory, arithmetic = rates.bytes_per_second * 1e-12, rates.bf16_flop_per_second * 1e-12
        print(f"`of it`: of {memory:g} TB/s and {arithmetic:g} TFLOP/s in bf16, of which fp8 reaches twice")


def main(argv: Sequence[str]) -> int:
    args = parse_arguments(argv)
    os.environ["HF_HUB_OFFLINE"] = "1"
    gpu, shape = read_gpu_name(), SHAPES[args.model]
    max_model_len = max(args.max_model_len, args.context + 4 * DECODE_STEPS, (args.prefill or 0) + 1)
    built = build_engine(args, max_model_len)
    engine = built.engine
    if args.prefill is None:
        point = DecodePoint(args.batch, args.context)
        work, run = point.name, prepare_decode(engine, point)
        costs = compute_decode_costs(shape, args.precision, args.batch, args.context)
    else:
        work, run = f"prefill of {args.prefill} tokens", prepare_prefill(engine, args.prefill)
        costs = compute_prefill_costs(shape, args.precision, args.prefill)
    run(WARM_UP_STEPS)
    wall_seconds = time_steps(run, args.steps)
    profile = summarise(profile_steps(run, args.steps), args.steps)
    rates = GPUS[gpu].measured if gpu in GPUS else None
    engine.drain()
    built.close()
    print_header(args, work, name_gpus(args.tensor_parallel, gpu), rates)
    print(render_profile(profile, {role: cost / args.tensor_parallel for role, cost in costs.items()}, rates))
    print(f"wall time of a step, not profiled: {wall_seconds * 1e6:.1f} µs")
    return 0
