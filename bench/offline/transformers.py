"""transformers' own continuous batching on W1 with random weights, in the best mode that the machine offers.

Without a flash-attention package that is `sdpa`, which has neither CUDA graphs nor asynchronous steps there.
"""

import argparse
import os
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from bench.offline.measure import check_length, measure_works
from bench.report.measurement import Recorder, read_gpu_name
from bench.work.arguments import add_offline_arguments
from bench.work.workload import TEMPERATURE, Work, build_uniform, build_w1


def build_model(args: argparse.Namespace) -> Any:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(args.folder)
    with torch.device("cuda"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    # NB: `sdpa` alone is swapped for flash attention, fetched over the network, where the `kernels` package is found.
    model.set_attn_implementation("paged|sdpa")
    return model.eval()


def run_work(model: Any, work: Work) -> float:
    """Returns the seconds from the first request to the last token. Raises RuntimeError when tokens are missing."""
    from transformers import ContinuousBatchingConfig, GenerationConfig

    config = GenerationConfig(do_sample=True, temperature=TEMPERATURE, eos_token_id=-1, pad_token_id=0)
    with model.continuous_batching_context_manager(
        generation_config=config,
        continuous_batching_config=ContinuousBatchingConfig(allow_block_sharing=False),
        block=True,
        timeout=5,
    ) as manager:
        begin = time.perf_counter()
        for prompt, length in zip(work.prompts, work.output_lengths, strict=True):
            manager.add_request(prompt, max_new_tokens=length, eos_token_id=-1)
        made = count_tokens(manager, len(work.prompts))
        seconds = time.perf_counter() - begin
    check_length(work, made)
    return seconds


def count_tokens(manager: Any, num_requests: int) -> int:
    made = finished = 0
    while finished < num_requests:
        result = manager.get_result(timeout=1)
        if result is None and not manager.is_running():
            raise RuntimeError(f"the generation thread ended with {finished} of {num_requests} requests done")
        if result is not None and result.is_finished():
            if result.error is not None:
                raise RuntimeError(f"request {result.request_id} failed: {result.error}")
            finished += 1
            made += len(result.generated_tokens)
    return made


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench transformers-offline", description=__doc__)
    args = add_offline_arguments(parser).parse_args(argv)
    os.environ["HF_HUB_OFFLINE"] = "1"
    import transformers

    recorder = Recorder(
        model=args.model,
        engine="transformers",
        version=transformers.__version__,
        gpu=read_gpu_name(),
        lines=args.lines,
        note="continuous batching, paged|sdpa",
    )
    model = build_model(args)
    run_work(model, build_uniform(4, 64, 8))
    measure_works(recorder, map(build_w1, args.divide), partial(run_work, model), args.repeats)
    return 0
