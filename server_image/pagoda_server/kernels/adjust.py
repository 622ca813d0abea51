"""Penalties, logit bias and tokens held back, in place on the logits: one entry for each (row, token) concerned.

Few rows ask and each names few tokens, so entries are a list and not a [rows, vocab] matrix. NB: logprobs that the
sampler gives after this are those of the adjusted logits.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from pagoda_server.kernels.arguments import FLOATS, check_tensor

BLOCK = 256


def adjust_logits(
    logits: Tensor,
    rows: Tensor,
    tokens: Tensor,
    counts: Tensor,
    biases: Tensor,
    presence: Tensor,
    frequency: Tensor,
    repetition: Tensor,
) -> None:
    """Adjusts logits [S, vocab] in place, at N entries; no (row, token) twice.

    rows [N] int32 (-1: padding), tokens [N] int32, counts [N] int32 how often the answer has the token (0: only the
    prompt has it; -1: neither, a bias alone), biases [N] float32 (-inf holds a token back). presence, frequency and
    repetition [S] float32; 0, 0 and 1 change nothing.
    """
    num_rows, num_entries = logits.shape[0], rows.shape[0]
    check_tensor("logits", logits, (None, None), FLOATS)
    for name, tensor in (("rows", rows), ("tokens", tokens), ("counts", counts)):
        check_tensor(name, tensor, (num_entries,), (torch.int32,))
    check_tensor("biases", biases, (num_entries,), (torch.float32,))
    for name, tensor in (("presence", presence), ("frequency", frequency), ("repetition", repetition)):
        check_tensor(name, tensor, (num_rows,), (torch.float32,))
    if num_entries:
        _adjust_kernel[(triton.cdiv(num_entries, BLOCK),)](
            logits, rows, tokens, counts, biases, presence, frequency, repetition,
            num_entries, VOCAB=logits.shape[1], BLOCK=BLOCK, num_warps=4,
        )  # fmt: skip


@triton.jit(do_not_specialize=["num_entries"])
def _adjust_kernel(
    logits_ptr, rows_ptr, tokens_ptr, counts_ptr, biases_ptr, presence_ptr, frequency_ptr, repetition_ptr,
    num_entries, VOCAB: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    entry = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = entry < num_entries
    row = tl.load(rows_ptr + entry, mask=inside, other=-1)
    token = tl.load(tokens_ptr + entry, mask=inside, other=-1)
    active = (row >= 0) & (token >= 0) & (token < VOCAB)
    count = tl.load(counts_ptr + entry, mask=active, other=-1)
    pointers = logits_ptr + row.to(tl.int64) * VOCAB + token
    x = tl.load(pointers, mask=active, other=0.0).to(tl.float32)
    repetition = tl.load(repetition_ptr + row, mask=active, other=1.0)
    x = tl.where(count >= 0, tl.where(x > 0, x / repetition, x * repetition), x)
    x -= tl.load(frequency_ptr + row, mask=active, other=0.0) * tl.maximum(count, 0).to(tl.float32)
    x -= tl.where(count > 0, tl.load(presence_ptr + row, mask=active, other=0.0), 0.0)
    tl.store(pointers, x + tl.load(biases_ptr + entry, mask=active, other=0.0), mask=active)
