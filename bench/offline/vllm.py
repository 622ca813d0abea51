"""vLLM in one process, without HTTP: W1, pure prefill and pure decode on random weights.

A decode rate is the difference of two runs that differ only in the answers' length: prompts and ramps cancel.
"""

import argparse
import os
import time
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING

from bench.offline.measure import check_length, measure_works, record_decode
from bench.report.measurement import Recorder, read_gpu_name
from bench.work.arguments import add_offline_arguments, add_point_arguments, choose_model_len
from bench.work.workload import TEMPERATURE, DecodePoint, Work, build_prefill, build_uniform, build_w1

if TYPE_CHECKING:
    from vllm import LLM

ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
    # FlashInfer's sampler compiles its kernels on the first start; vLLM's own needs nothing.
    "VLLM_USE_FLASHINFER_SAMPLER": "0",
}
SHORT_OUTPUT_TOKENS, LONG_OUTPUT_TOKENS = 16, 144
"""NB: the short answer must outlast the steps that prefill the whole batch, or the difference is not pure decode."""


def build_llm(args: argparse.Namespace) -> "LLM":
    from vllm import LLM

    fp8 = args.precision == "fp8"
    return LLM(
        str(args.folder),
        load_format="dummy",
        max_model_len=choose_model_len(args.prefill),
        enable_prefix_caching=False,
        quantization="fp8" if fp8 else None,
        kv_cache_dtype="fp8" if fp8 else "auto",
        gpu_memory_utilization=0.85,
        seed=0,
    )


def run_work(llm: "LLM", work: Work) -> float:
    """Returns seconds. Raises RuntimeError when an answer has another length than asked."""
    from vllm import SamplingParams

    prompts = [{"prompt_token_ids": prompt} for prompt in work.prompts]
    params = [
        SamplingParams(temperature=TEMPERATURE, ignore_eos=True, max_tokens=length, detokenize=False)
        for length in work.output_lengths
    ]
    begin = time.perf_counter()
    outputs = llm.generate(prompts, params, use_tqdm=False)
    seconds = time.perf_counter() - begin
    made = sum(len(output.outputs[0].token_ids) for output in outputs)
    check_length(work, made)
    return seconds


def time_decode(llm: "LLM", point: DecodePoint) -> float:
    """Returns the seconds of a step."""
    num_prompt_tokens = point.context - LONG_OUTPUT_TOKENS // 2
    short, long = (
        run_work(llm, build_uniform(point.batch, num_prompt_tokens, length))
        for length in (SHORT_OUTPUT_TOKENS, LONG_OUTPUT_TOKENS)
    )
    return (long - short) / (LONG_OUTPUT_TOKENS - SHORT_OUTPUT_TOKENS)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench vllm-offline", description=__doc__)
    args = add_point_arguments(add_offline_arguments(parser, precisions=("bf16", "fp8"))).parse_args(argv)
    os.environ.update(ENVIRONMENT | os.environ)
    recorder = Recorder(
        model=args.model,
        engine="vllm",
        version=version("vllm"),
        gpu=read_gpu_name(),
        lines=args.lines,
        precision=args.precision,
    )
    begin = time.perf_counter()
    llm = build_llm(args)
    print(f"{args.model} {args.precision}: vLLM built in {time.perf_counter() - begin:.1f} s", flush=True)
    run_work(llm, build_uniform(2, 64, 8))
    works = [*map(build_w1, args.divide), *map(build_prefill, args.prefill)]
    measure_works(recorder, works, partial(run_work, llm), args.repeats)
    for point in args.decode:
        record_decode(recorder, point, [time_decode(llm, point) for _ in range(args.repeats)])
    return 0
