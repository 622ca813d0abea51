"""Times each GPU kernel beside the time its bytes or its arithmetic must take on this card.

python -m bench.kernels [--only decode decode-choices prefill layers linears sampler prepare] [--bandwidth 4.3]
    [--tflops 788]

Calls are captured in a CUDA graph, as the engine runs them, over input sets that rotate through more memory than the
L2 cache holds. The time is the median of several replays, divided by the calls in one. The floor is the larger of
bytes that must move / bandwidth and operations / rate; the defaults are measured ceilings of an H200. Needs a CUDA GPU,
takes a few minutes.
"""

import argparse
import statistics

import torch

from bench.kernel_cases import CASES as KERNEL_CASES
from bench.kernel_cases import Case
from bench.linear_cases import list_linears
from pagoda_server.runtime.measure_linears import time_replay

CASES = {**KERNEL_CASES, "linears": list_linears}

ROTATION_BYTES = 200_000_000
MAX_INPUT_SETS = 48
MIN_CALLS = 16
REPLAYS = 7


def measure_seconds(case: Case) -> float:
    """Of one call, in a graph of calls that share no inputs with their neighbours."""
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
    return statistics.median(time_replay(graph) for _ in range(REPLAYS)) / (rounds * sets)


def print_row(case: Case, seconds: float, bandwidth: float, rate: float) -> None:
    floor = max(case.num_bytes / bandwidth, case.flops / rate)
    bound = "arithmetic" if case.flops / rate > case.num_bytes / bandwidth else "bytes"
    print(
        f"{case.kernel:<11}{case.shape:<46}{seconds * 1e6:>10.1f}{floor * 1e6:>10.1f}{100 * floor / seconds:>7.0f} %"
        f"{case.num_bytes / seconds * 1e-12:>8.2f}{case.flops / seconds * 1e-12:>8.0f}  {bound}",
        flush=True,
    )


def main() -> None:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES), help="which kernels; all if not given")
    parser.add_argument("--bandwidth", type=float, default=4.3, metavar="TB/s", help="of the card's memory")
    parser.add_argument("--tflops", type=float, default=788.0, metavar="TFLOP/s", help="of bfloat16 matrix products")
    chosen = parser.parse_args()
    if not torch.cuda.is_available():
        parser.error("needs a CUDA GPU")
    torch.manual_seed(0)
    print(
        f"{torch.cuda.get_device_name()}, torch {torch.__version__}; {chosen.bandwidth} TB/s, {chosen.tflops} TFLOP/s"
    )
    print(f"{'kernel':<11}{'shape':<46}{'µs':>10}{'floor µs':>10}{'of it':>9}{'TB/s':>8}{'TFLOP/s':>8}  bound by")
    for name in chosen.only:
        for case in CASES[name]():
            print_row(case, measure_seconds(case), chosen.bandwidth * 1e12, chosen.tflops * 1e12)
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
