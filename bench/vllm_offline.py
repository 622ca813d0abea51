"""vLLM in one process, without HTTP: W1 and pure decode on random weights.

A decode rate is the difference of two runs that differ only in the answers' length: prompts and ramps cancel.
"""

import argparse
import os
import time
from importlib.metadata import version
from typing import TYPE_CHECKING

from bench.arguments import add_offline_arguments
from bench.limits import compute_decode_limit, compute_work_limit
from bench.measurement import TOKENS_PER_SECOND, Recorder, read_gpu_name
from bench.workload import TEMPERATURE, DecodePoint, Work, build_uniform, build_w1

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
        max_model_len=8192,
        enable_prefix_caching=False,
        quantization="fp8" if fp8 else None,
        kv_cache_dtype="fp8" if fp8 else "auto",
        gpu_memory_utilization=0.85,
        seed=0,
    )


def run_work(llm: "LLM", work: Work) -> float:
    """Seconds. Raises RuntimeError when an answer has another length than asked."""
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
    if made != work.num_output_tokens:
        raise RuntimeError(
            f"{work.name} made {made} tokens instead of {work.num_output_tokens}: the rate would be wrong"
        )
    return seconds


def measure_work(llm: "LLM", recorder: Recorder, work: Work, repeats: int) -> None:
    rates = [round(work.num_output_tokens / run_work(llm, work)) for _ in range(repeats)]
    limit = compute_work_limit(recorder.gpu, recorder.model, recorder.precision, work)
    recorder.record(work.name, TOKENS_PER_SECOND, [float(rate) for rate in rates], limit=limit)


def measure_decode(llm: "LLM", recorder: Recorder, point: DecodePoint) -> None:
    """One sample; small batches take their quicker of two runs, since a step there is short beside the noise."""
    repeats = 3 if point.batch * point.context <= 65536 else 1
    num_prompt_tokens = point.context - LONG_OUTPUT_TOKENS // 2
    seconds = [
        min(run_work(llm, build_uniform(point.batch, num_prompt_tokens, length)) for _ in range(repeats))
        for length in (SHORT_OUTPUT_TOKENS, LONG_OUTPUT_TOKENS)
    ]
    step_seconds = (seconds[1] - seconds[0]) / (LONG_OUTPUT_TOKENS - SHORT_OUTPUT_TOKENS)
    limit = compute_decode_limit(recorder.gpu, recorder.model, recorder.precision, point)
    rate = float(round(point.batch / step_seconds))
    recorder.record(point.name, TOKENS_PER_SECOND, [rate], limit=limit, note=f"{step_seconds * 1e3:.3f} ms a step")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.vllm_offline", description=__doc__)
    args = add_offline_arguments(parser, precisions=("bf16", "fp8")).parse_args(argv)
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
    for divide in args.divide:
        measure_work(llm, recorder, build_w1(divide), args.repeats)
    for point in args.decode:
        measure_decode(llm, recorder, point)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
