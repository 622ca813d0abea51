"""Compiles every kernel for sm_90 as its launcher would ask for it, on any machine, and prints a JSON line for each.

Triton brings its own assembler, and only launching needs a driver: `AbsentGpu` stands in for it, and launches end after
the compilation. Not a test module: `test_compile.py` runs it in a process without the interpreter.
"""

import json
import re
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import triton
from torch import Tensor
from triton.runtime.driver import driver
from triton.runtime.jit import JITFunction

from pagoda_server.kernels import (
    activation,
    adjust,
    fp8,
    gemv,
    invariant_linear,
    linear,
    logprobs,
    norm,
    prefill_attention,
    prepare,
    rope_write,
    sampler,
    sum_norm,
)
from pagoda_server.kernels.decode_attention import decode_attention
from pagoda_server.kernels.decode_plan import build_decode_plan, plan_decode
from pagoda_server.start.compile_ahead import AbsentGpu

CPU = torch.device("cpu")
BATCH, TOKENS, VOCAB = 4, 6, 151_936
SHAPES = [(32, 8, 128, torch.bfloat16), (14, 2, 64, torch.bfloat16), (12, 4, 96, torch.float16)]
"""Query heads, KV heads, head_dim: Llama-3.1-8B and Qwen3-8B; Qwen2.5-0.5B; a padded head_dim."""


def read_usage(cubin: bytes, what: str) -> int:
    """Reads a thread's registers (REG), or the bytes of STACK to which those that did not fit are spilled."""
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        usage = subprocess.run([tool, "-res-usage", file.name], capture_output=True, text=True, check=True).stdout
    return max(int(found) for found in re.findall(rf"{what}:(\d+)", usage))


def stop_after_compiling(run: Callable[..., Any]) -> Callable[..., Any]:
    def compile_only(self: JITFunction, *args: object, grid: object, warmup: bool, **options: object) -> Any:
        compiled = run(self, *args, grid=grid, warmup=True, **options)
        record = {
            "kernel": f"{self.module.rpartition('.')[2]}.{self.__name__}",
            "shared_bytes": compiled.metadata.shared,
            "stack_bytes": read_usage(compiled.asm["cubin"], "STACK"),
            "registers": -(-read_usage(compiled.asm["cubin"], "REG") // 8) * 8 * 32 * compiled.metadata.num_warps,
            "head_dim": options.get("HEAD_DIM"),
            "wgmma": "wgmma" in compiled.asm["ptx"],
            "reads_others": "ld.global.cg.v4.b32" in compiled.asm["ptx"],
            "tma": "cp.async.bulk.tensor" in compiled.asm["ptx"],
            "streams": re.search(r"cp\.async\.cg.*, 0x10|ld\.global\.v4\.b32", compiled.asm["ptx"]) is not None,
        }
        print(json.dumps(record), flush=True)
        return compiled

    return compile_only


def compile_projections(dtype: torch.dtype) -> None:
    """Uses Qwen3-0.6B's shapes: gates and ups in one load or part, the projection after them in several."""
    gate_up, down = torch.zeros((6144, 1024), dtype=dtype), torch.zeros((1024, 3072), dtype=dtype)
    hidden = torch.zeros((BATCH, 1024), dtype=dtype)
    scratch = linear.build_linear_scratch(6144, CPU)
    for row_tile in gemv.TILES:
        gemv.gemv(hidden[:1], gate_up, row_tile, norm=hidden[0], gated=True)
        gemv.gemv(torch.zeros((1, 3072), dtype=dtype), down, row_tile, residual=hidden[:1])
    invariant_linear.invariant_linear(hidden, gate_up)
    for tokens in linear.TILES:
        hidden, wide = torch.zeros((tokens, 1024), dtype=dtype), torch.zeros((tokens, 3072), dtype=dtype)
        for tile in linear.TILES[tokens]:
            linear.linear(hidden, gate_up, tile, scratch, gated=True)
            linear.linear(wide, down, tile, scratch, bias=hidden[0])
        values, narrow = (one.to(torch.float8_e4m3fn) for one in (wide, down))
        for tile in linear.FP8_TILES[tokens]:
            scaled = (values, torch.zeros((tokens, 1)), narrow, torch.zeros(1024), tile, scratch)
            linear.linear_fp8(*scaled, dtype=dtype)


def ints(*shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.int32)


def compile_attention(
    heads: int, kv_heads: int, head_dim: int, dtype: torch.dtype, kv_dtype: torch.dtype | None = None
) -> None:
    q = torch.zeros((BATCH, heads, head_dim), dtype=dtype)
    k_cache, v_cache = (torch.zeros((2, 64, kv_heads, head_dim), dtype=kv_dtype or dtype) for _ in range(2))
    plan = build_decode_plan(BATCH, heads, kv_heads, head_dim, 64, CPU)
    paged = (q, k_cache, v_cache, ints(BATCH, 16))
    plan_decode(ints(BATCH), ints(BATCH), plan)
    decode_attention(*paged, plan, 0.1)
    decode_attention(*paged, plan, 0.1, batch=BATCH, first=ints(1))
    for scratch in (None, prefill_attention.build_prefill_scratch(head_dim, CPU)):
        prefill_attention.prefill_attention(*paged, ints(BATCH), ints(BATCH + 1), ints(BATCH), 0.1, scratch=scratch)
    qkv = torch.zeros((TOKENS, (heads + 2 * kv_heads) * head_dim), dtype=dtype)
    table = torch.zeros((99, head_dim // 2))
    norms = torch.zeros(head_dim, dtype=dtype), torch.zeros(head_dim, dtype=dtype)
    rope_write.rope_write(qkv, ints(TOKENS), ints(TOKENS), table, table, k_cache, v_cache, heads, *norms)


def compile_sums(dtype: torch.dtype) -> None:
    """Compiles the sums of two and of three ranks."""
    residual, weight = torch.zeros((TOKENS, 4096), dtype=dtype), torch.zeros(4096, dtype=dtype)
    for ranks in (2, 3):
        memory = torch.zeros(sum_norm.count_bytes(ranks, residual.nbytes) + 128, dtype=torch.uint8)
        memory = memory[-memory.data_ptr() % 128 :]
        shares = sum_norm.Exchange(memory, [memory.data_ptr()] * ranks, 0).shares(residual, 0)
        assert shares is not None
        sum_norm.sum_rms_norm(shares, residual, weight, 1e-6)
        sum_norm.sum_rms_norm_fp8(shares, residual, weight, 1e-6)


def compile_rest(dtype: torch.dtype) -> None:
    x, weight = torch.zeros((TOKENS, 4096), dtype=dtype), torch.zeros(4096, dtype=dtype)
    norm.rms_norm(x, weight, 1e-6)
    norm.add_rms_norm(x, x.clone(), weight, 1e-6)
    activation.silu_mul(x)
    fp8.quantize_tokens(x)
    norm.rms_norm_fp8(x, weight, 1e-6)
    norm.add_rms_norm_fp8(x, x.clone(), weight, 1e-6)
    for size in (14_336, 28_672):
        activation.silu_mul_fp8(torch.zeros((TOKENS, 2 * size), dtype=dtype))
    state = ints(8, 999), ints(8), ints(8, 16)
    prepare.prepare_decode(ints(BATCH), *state, 64, ints(BATCH), ints(BATCH), ints(BATCH), ints(BATCH), ints(1))
    prepare.set_lengths(ints(BATCH), ints(BATCH), state[1])
    prepare.append_tokens(ints(BATCH), ints(BATCH), state[0], state[1])
    logits, real = torch.zeros((BATCH, VOCAB), dtype=dtype), torch.zeros(BATCH)
    table = sampler.SamplingTable(real, ints(BATCH), real, real, ints(BATCH).long())
    scratch = sampler.build_sampler_scratch(BATCH, VOCAB, CPU)
    sampler.sample(logits, table, ints(BATCH), ints(BATCH), scratch, ints(BATCH))
    ranks = torch.zeros((BATCH, logprobs.WIDTH), dtype=torch.int32)
    ranking = logprobs.build_logprobs_scratch(BATCH, VOCAB, CPU)
    logprobs.rank_logprobs(logits, ints(BATCH), ints(BATCH), logprobs.MAX_TOP, ranking, ranks)
    members = adjust.Members(ints(BATCH), ints(BATCH), ints(BATCH), ints(BATCH))
    adjustments = adjust.AdjustTable(ints(8, 99), torch.zeros((8, VOCAB), dtype=torch.int16), state[0])
    adjust.adjust(logits, adjustments, members, ints(BATCH, VOCAB // 32), torch.zeros((BATCH, VOCAB)))
    adjust.settle(ints(BATCH), adjustments, members, ints(BATCH))


if __name__ == "__main__":
    driver.set_active(AbsentGpu(90))
    JITFunction.run = stop_after_compiling(JITFunction.run)
    for shape in SHAPES:
        compile_attention(*shape)
        compile_attention(*shape, torch.float8_e4m3fn)
    compile_projections(torch.bfloat16)
    compile_sums(torch.bfloat16)
    compile_rest(torch.bfloat16)
