"""The end of a step: choosing tokens, and making the next step's inputs of them."""

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from bench.kernels.case import BF16, DEVICE, PAGE_SIZE, Call, Case, place
from pagoda_server.engine.request import Request
from pagoda_server.kernels.adjust import MASKED, PENALIZED, Members, adjust
from pagoda_server.kernels.logprobs import MAX_TOP, WIDTH, build_logprobs_scratch, rank_logprobs
from pagoda_server.kernels.prepare import append_tokens, prepare_decode
from pagoda_server.kernels.sampler import SamplingTable, build_sampler_scratch, sample
from pagoda_server.runtime.gpu.adjustments import apply_opening, build_adjust_table, plan_opening
from pagoda_server.wire import Sampling

VOCAB = 151_936


def list_sampler() -> Iterator[Case]:
    kinds = {
        "greedy": {"temperature": 0.0},
        "temperature": {"temperature": 0.6}, "top_k 20, top_p 0.95": {"temperature": 0.6, "top_k": 20, "top_p": 0.95},
        "top_p 0.95": {"temperature": 0.6, "top_p": 0.95}, "min_p 0.05": {"temperature": 1.0, "min_p": 0.05},
        "top_p 0.95, flat": {"temperature": 9.0, "top_p": 0.95},
    }  # fmt: skip
    for num_rows in (1, 32, 256):
        for kind, options in kinds.items():
            shape = f"{num_rows} x {VOCAB}, {kind}"
            yield Case("sampler", shape, 2 * num_rows * VOCAB, 0, partial(build_sampler, num_rows, options))


def build_sampler(num_rows: int, options: dict[str, float]) -> Call:
    def fill(name: str, default: float, dtype: torch.dtype) -> Tensor:
        return torch.full((num_rows,), options.get(name, default), dtype=dtype, device=DEVICE)

    table = SamplingTable(
        temperature=fill("temperature", 1.0, torch.float32),
        top_k=fill("top_k", 0, torch.int32),
        top_p=fill("top_p", 1.0, torch.float32),
        min_p=fill("min_p", 0.0, torch.float32),
        seed=torch.arange(num_rows, device=DEVICE),
    )
    logits = (torch.randn((num_rows, VOCAB), device=DEVICE) * 3).to(BF16)
    scratch = build_sampler_scratch(num_rows, VOCAB, DEVICE)
    tokens, rows = place([0] * num_rows), place(range(num_rows))
    return lambda: sample(logits, table, rows, rows, scratch, tokens)


def list_own_logits() -> Iterator[Case]:
    """Yields what comes after the first choice for rows that ask for more."""
    for num_rows in (1, 64, 256):
        shape = f"{num_rows} x {VOCAB}"
        yield Case("adjust", f"{shape}, all of it", 8 * num_rows * VOCAB, 0, partial(build_adjust, num_rows))
        yield Case("logprobs", f"{shape}, 20", 2 * num_rows * VOCAB, 0, partial(build_logprobs, num_rows))


def build_adjust(num_rows: int) -> Call:
    """Makes every row penalized, biased and masked."""
    words = -(-VOCAB // 32)
    table = build_adjust_table(num_rows, VOCAB, 1, torch.zeros((num_rows, 4096), dtype=torch.int32, device=DEVICE))
    sampling = Sampling(max_tokens=9, presence_penalty=0.5, logit_bias=tuple((token, 1.0) for token in range(300)))
    requests = [
        Request(request_id="r", token_ids=[1] * 500, num_prompt_tokens=400, sampling=sampling, seed=0, row=row)
        for row in range(num_rows)
    ]
    apply_opening(table, [torch.from_numpy(array).to(DEVICE) for array in plan_opening(requests, VOCAB).arrays()])
    rows, asks = place(range(num_rows)), place([PENALIZED | MASKED] * num_rows)
    members = Members(rows, rows, place([500] * num_rows), asks)
    masks = torch.full((num_rows, words), -1, dtype=torch.int32, device=DEVICE)
    logits = torch.randn((num_rows, VOCAB), device=DEVICE).to(BF16)
    out = torch.empty((num_rows, VOCAB), device=DEVICE)
    return lambda: adjust(logits, table, members, masks, out)


def build_logprobs(num_rows: int) -> Call:
    logits, rows = (torch.randn((num_rows, VOCAB), device=DEVICE) * 3).to(BF16), place(range(num_rows))
    scratch = build_logprobs_scratch(num_rows, VOCAB, DEVICE)
    out = torch.empty((num_rows, WIDTH), dtype=torch.int32, device=DEVICE)
    return lambda: rank_logprobs(logits, rows, rows, MAX_TOP, scratch, out)


def list_prepare() -> Iterator[Case]:
    yield Case("prepare", "256 entries", 256 * 40, 0, lambda: build_prepare(256, False))
    yield Case("append", "256 entries", 256 * 20, 0, lambda: build_prepare(256, True))


def build_prepare(batch: int, append: bool) -> Call:
    pool = torch.zeros((batch, 8192), dtype=torch.int32, device=DEVICE)
    lengths, rows, table = place([1000] * batch), place(range(batch)), torch.zeros_like(pool[:, :128]).contiguous()
    ids, positions, slots, contexts = (place([0] * batch) for _ in range(4))
    first = place([0])
    if append:
        return lambda: append_tokens(ids, rows, pool, lengths)
    return lambda: prepare_decode(rows, pool, lengths, table, PAGE_SIZE, ids, positions, slots, contexts, first)
