"""Our own engine without HTTP, on one GPU or several: W1, pure prefill and pure decode on random weights."""

import argparse
import os
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from bench.offline.measure import check_length, measure_works, record_decode
from bench.report.measurement import Recorder, read_gpu_name, read_version
from bench.work.arguments import (
    SEQUENCE_TOKENS,
    add_offline_arguments,
    add_point_arguments,
    argument_of,
    choose_model_len,
)
from bench.work.limits import name_gpus
from bench.work.workload import (
    OUTPUT_RATE,
    TEMPERATURE,
    DecodePoint,
    Work,
    build_closed_loop,
    build_prefill,
    build_uniform,
    build_w1,
    parse_width,
)

if TYPE_CHECKING:
    from pagoda_server.engine.engine import Engine
    from pagoda_server.start.build import BuiltEngine

DECODE_STEPS = 128


def add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what `build_engine` reads beside the model, its folder and the precision."""
    parser.add_argument("--max-batched-tokens", type=int, default=8192, help="of one step (default %(default)s)")
    parser.add_argument(
        "--max-model-len", type=int, default=SEQUENCE_TOKENS, help="minimum, of a sequence (default %(default)s)"
    )
    parser.add_argument("--tensor-parallel", type=int, default=1, help="GPUs to divide the model over (default 1)")
    for flag in ("--no-measure-projections", "--deterministic"):
        parser.add_argument(flag, action="store_true", help="as of `python -m pagoda_server`")


def build_engine(args: argparse.Namespace, max_model_len: int) -> "BuiltEngine":
    from pagoda_server.engine.config import EngineConfig
    from pagoda_server.start.build import build_engine

    config = EngineConfig(
        model=args.folder,
        socket=args.folder / "unused.sock",
        max_model_len=max_model_len,
        max_batched_tokens=args.max_batched_tokens,
        tensor_parallel=args.tensor_parallel,
        gpu_memory_fraction=0.85,
        prefix_caching=False,
        quantization="fp8" if args.precision == "fp8" else "none",
        kv_cache_dtype="fp8" if args.precision == "fp8" else "auto",
        measure_projections=not args.no_measure_projections,
        deterministic=args.deterministic,
    )
    built = build_engine(config)
    while built.engine.runner.prepare_next():
        pass
    return built


def submit(engine: "Engine", work: Work) -> None:
    """Raises RuntimeError when the engine refuses a request."""
    for index in range(len(work.prompts)):
        submit_one(engine, work, index)


def submit_one(engine: "Engine", work: Work, index: int, *, is_streamed: bool = False) -> None:
    from pagoda_server.wire import Sampling, Submit

    sampling = Sampling(max_tokens=work.output_lengths[index], temperature=TEMPERATURE, ignore_eos=True)
    request = Submit(str(index), work.prompts[index], sampling, is_streamed=is_streamed)
    refusal = engine.submit(request)
    if refusal is not None:
        raise RuntimeError(f"{work.name}: request {index} was refused: {refusal.message}")


def run_work(engine: "Engine", work: Work, streams: int | None = None) -> float:
    """Returns the seconds of all at once, or of a closed loop. Raises RuntimeError when tokens are missing."""
    is_streamed = streams is not None
    submits = (partial(submit_one, engine, work, index, is_streamed=is_streamed) for index in range(len(work.prompts)))
    seconds, made = run_submits(engine, submits, streams)
    check_length(work, made)
    return seconds


def run_submits(
    engine: "Engine", submits: Iterator[Callable[[], None]], streams: int | None = None
) -> tuple[float, int]:
    """Runs so many at a time, all of them at once by default. Returns the seconds, and the tokens that were made."""
    begin, made = time.perf_counter(), 0
    for submit_next in islice(submits, streams):
        submit_next()
    while engine.has_work:
        for delta in engine.step():
            made += len(delta.token_ids)
            if delta.finish_reason is not None:
                for submit_next in islice(submits, 1):
                    submit_next()
    return time.perf_counter() - begin, made


def begin_decode(engine: "Engine", point: DecodePoint) -> None:
    """Returns when every sequence decodes. Raises RuntimeError when they never do so together."""
    submit(engine, build_uniform(point.batch, point.context - DECODE_STEPS // 2, 4 * DECODE_STEPS))
    # Every sequence makes a token in a step that holds no prompt; prompts come first, so it is the first such step.
    while len(engine.step()) < point.batch:
        if not engine.has_work:
            raise RuntimeError(f"{point.name} never decoded whole: the KV pages do not hold it; lower the batch")


def time_decode(engine: "Engine", point: DecodePoint, budget_seconds: float) -> float:
    """Returns the seconds of a step in which every sequence decodes."""
    begin_decode(engine, point)
    begin, steps = time.perf_counter(), 0
    while steps < DECODE_STEPS and time.perf_counter() - begin < budget_seconds:
        made = len(engine.step())
        if made != point.batch:
            raise RuntimeError(
                f"{point.name}: a step made {made} tokens; the first answers ended before the last began"
            )
        steps += 1
    seconds = (time.perf_counter() - begin) / steps
    engine.abort_all("")
    return seconds


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench pagoda-offline", description=__doc__)
    add_point_arguments(add_offline_arguments(parser, precisions=("bf16", "fp8")))
    add_engine_arguments(parser)
    parser.add_argument(
        "--streams",
        type=argument_of(parse_width),
        nargs="*",
        default=[],
        metavar="STREAMSxREQUESTS",
        help="closed loops, the work of `serving` without HTTP",
    )
    parser.add_argument("--budget-seconds", type=float, default=20, help="of a decode sample (default %(default)s)")
    parser.add_argument("--note", default="", help="what is special about this engine, kept with the figures")
    args = parser.parse_args(argv)
    os.environ["HF_HUB_OFFLINE"] = "1"
    recorder = Recorder(
        model=args.model,
        engine="ours",
        version=read_version(),
        gpu=name_gpus(args.tensor_parallel, read_gpu_name()),
        lines=args.lines,
        precision=args.precision,
        note=args.note,
    )
    built = build_engine(args, max(args.max_model_len, choose_model_len(args.prefill)))
    measure(built.engine, recorder, args)
    built.close()
    return 0


def measure(engine: "Engine", recorder: Recorder, args: argparse.Namespace) -> None:
    run_work(engine, build_uniform(2, 64, 8))
    works = [*map(build_w1, args.divide), *map(build_prefill, args.prefill)]
    measure_works(recorder, works, partial(run_work, engine), args.repeats)
    for width in args.streams:
        work = build_closed_loop(width)
        seconds = [run_work(engine, work, width.streams) for _ in range(args.repeats)]
        recorder.record(work.name, OUTPUT_RATE, [float(round(work.num_output_tokens / each)) for each in seconds])
    for point in args.decode:
        record_decode(recorder, point, [time_decode(engine, point, args.budget_seconds) for _ in range(args.repeats)])
