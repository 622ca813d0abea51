"""Times each GPU kernel beside the time its bytes or its arithmetic must take on this card.

python -m bench kernels [--only decode decode-choices prefill layers linears linears-fp8 linear-choices sampler
    prepare] [--bandwidth 4.3] [--tflops 788] [--lines FILE]

Calls are captured in a CUDA graph, as the engine runs them, over input sets that rotate through more memory than the
L2 cache holds. The time is the median of several replays, divided by the calls in one. The floor is the larger of
bytes that must move / bandwidth and operations / rate; the defaults are measured ceilings of an H200. Needs a CUDA GPU,
takes a few minutes. `--lines` also writes rows that `python -m bench merge` takes.
"""

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path

import torch

from bench.kernels.case import Case
from bench.kernels.decode_cases import list_decode, list_decode_choices
from bench.kernels.layer_cases import list_layers
from bench.kernels.linear_cases import list_fp8_linears, list_linear_choices, list_linears
from bench.kernels.prefill_cases import list_prefill
from bench.kernels.sampler_cases import list_own_logits, list_prepare, list_sampler
from bench.report.measurement import NO_MODEL, Recorder, read_gpu_name, read_version
from bench.work.limits import GPUS, Limit, Rates
from pagoda_server.start.measure_projections import time_replay

CASES = {
    "decode": list_decode,
    "decode-choices": list_decode_choices,
    "prefill": list_prefill,
    "layers": list_layers,
    "sampler": list_sampler,
    "own-logits": list_own_logits,
    "prepare": list_prepare,
    "linears": list_linears,
    "linears-fp8": list_fp8_linears,
    "linear-choices": list_linear_choices,
}

ROTATION_BYTES = 200_000_000
MAX_INPUT_SETS = 48
MIN_CALLS = 16
REPLAYS = 7


def sample_seconds(case: Case) -> list[float]:
    """Returns seconds per call, of each replay of a graph of calls that share no inputs with their neighbours."""
    sets = max(1, min(MAX_INPUT_SETS, int(ROTATION_BYTES // case.num_bytes)))
    calls = [case.build() for _ in range(sets)]
    for call in calls:
        call()
    torch.cuda.synchronize()
    rounds = -(-MIN_CALLS // sets) if case.num_bytes < ROTATION_BYTES else 3
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(rounds):
            for call in calls:
                call()
    graph.replay()
    return [time_replay(graph) / (rounds * sets) for _ in range(REPLAYS)]


def find_floor(case: Case, rates: Rates) -> float:
    """Returns the seconds that a case must take, by its bytes or its arithmetic."""
    return max(case.num_bytes / rates.bytes_per_second, case.flops / rates.bf16_flop_per_second)


def print_row(case: Case, seconds: float, rates: Rates) -> None:
    floor = find_floor(case, rates)
    bound = "bytes" if floor == case.num_bytes / rates.bytes_per_second else "arithmetic"
    print(
        f"{case.kernel:<11}{case.shape:<46}{seconds * 1e6:>10.1f}{floor * 1e6:>10.1f}{100 * floor / seconds:>7.0f} %"
        f"{case.num_bytes / seconds * 1e-12:>8.2f}{case.flops / seconds * 1e-12:>8.0f}  {bound}",
        flush=True,
    )


def record_row(recorder: Recorder, case: Case, samples: list[float], measured: Rates) -> None:
    """Records microseconds, and the limit at the data sheet's rates where they are known."""
    gpu = GPUS.get(recorder.gpu)
    floors = [find_floor(case, rates) for rates in (gpu.rated if gpu else measured, measured)]
    recorder.record(
        f"kernel {case.kernel} {case.shape}",
        "µs",
        [round(seconds * 1e6, 2) for seconds in samples],
        limit=Limit(*(round(floor * 1e6, 3) for floor in floors)) if gpu else None,
        num_bytes=case.num_bytes,
        flop=case.flops,
    )


def build_recorder(lines: Path) -> Recorder:
    return Recorder(model=NO_MODEL, engine="ours", version=read_version(), gpu=read_gpu_name(), lines=lines)


def main(argv: Sequence[str]) -> int:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        prog="python -m bench kernels", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES), help="which kernels; all if not given")
    parser.add_argument("--bandwidth", type=float, default=4.3, metavar="TB/s", help="of the card's memory")
    parser.add_argument("--tflops", type=float, default=788.0, metavar="TFLOP/s", help="of bfloat16 matrix products")
    parser.add_argument("--lines", type=Path, help="append the figures to this file, as rows for `merge`")
    chosen = parser.parse_args(argv)
    if not torch.cuda.is_available():
        parser.error("needs a CUDA GPU")
    torch.manual_seed(0)
    rates = Rates(chosen.bandwidth * 1e12, chosen.tflops * 1e12)
    recorder = build_recorder(chosen.lines) if chosen.lines else None
    print(
        f"{torch.cuda.get_device_name()}, torch {torch.__version__}; {chosen.bandwidth} TB/s, {chosen.tflops} TFLOP/s"
    )
    print(f"{'kernel':<11}{'shape':<46}{'µs':>10}{'floor µs':>10}{'of it':>9}{'TB/s':>8}{'TFLOP/s':>8}  bound by")
    for name in chosen.only:
        for case in CASES[name]():
            samples = sample_seconds(case)
            print_row(case, statistics.median(samples), rates)
            if recorder:
                record_row(recorder, case, samples, rates)
            torch.cuda.empty_cache()
    return 0
