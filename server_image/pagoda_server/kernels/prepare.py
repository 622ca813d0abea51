"""A step's inputs from state that stays on the GPU, and its outcome back into it: the host copies nothing.

State, one row a sequence for its life: token_pool [rows, max_len] int32 the tokens, lengths [rows] int32 how many are
known, page_table [rows, max_pages] int32. A batch entry names its row; -1 is padding.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from pagoda_server.kernels.arguments import INDICES, check_tensor

BLOCK = 128


def prepare_decode(
    rows: Tensor,
    token_pool: Tensor,
    lengths: Tensor,
    page_table: Tensor,
    page_size: int,
    input_ids: Tensor,
    positions: Tensor,
    slots: Tensor,
    context_lengths: Tensor,
) -> None:
    """For each of rows [B] int32: its last token, that token's position and slot, and the length of its context.

    Writes input_ids, positions and slots [B] (int32 or int64) and context_lengths [B] int32. Padding, and a row of
    length 0, gets token 0, position 0, slot -1 and length 0.
    """
    batch = rows.shape[0]
    _check_state(rows, token_pool, lengths)
    check_tensor("page_table", page_table, (token_pool.shape[0], None), (torch.int32,))
    for name, tensor in (("input_ids", input_ids), ("positions", positions), ("slots", slots)):
        check_tensor(name, tensor, (batch,), INDICES)
    check_tensor("context_lengths", context_lengths, (batch,), (torch.int32,))
    if batch:
        _prepare_kernel[(triton.cdiv(batch, BLOCK),)](
            rows, token_pool, lengths, page_table, input_ids, positions, slots, context_lengths,
            batch, token_pool.shape[1], page_table.shape[1], PAGE_SIZE=page_size, BLOCK=BLOCK, num_warps=4,
        )  # fmt: skip


def prepare_prefill(
    rows: Tensor,
    cu_seqlens: Tensor,
    context_lengths: Tensor,
    token_pool: Tensor,
    page_table: Tensor,
    page_size: int,
    input_ids: Tensor,
    positions: Tensor,
    slots: Tensor,
) -> None:
    """Flat inputs of sequences' chunks: chunk i is the last `cu_seqlens[i+1] - cu_seqlens[i]` of its context's tokens.

    rows [B] int32, cu_seqlens [B + 1] int32, context_lengths [B] int32. Writes input_ids, positions and slots [T]
    (int32 or int64); tokens past cu_seqlens[B] get token 0, position 0 and slot -1.
    """
    batch, num_tokens = rows.shape[0], input_ids.shape[0]
    check_tensor("rows", rows, (batch,), (torch.int32,))
    check_tensor("cu_seqlens", cu_seqlens, (batch + 1,), (torch.int32,))
    check_tensor("context_lengths", context_lengths, (batch,), (torch.int32,))
    check_tensor("token_pool", token_pool, (None, None), (torch.int32,))
    check_tensor("page_table", page_table, (token_pool.shape[0], None), (torch.int32,))
    for name, tensor in (("input_ids", input_ids), ("positions", positions), ("slots", slots)):
        check_tensor(name, tensor, (num_tokens,), INDICES)
    if num_tokens:
        _prefill_kernel[(triton.cdiv(num_tokens, BLOCK),)](
            rows, cu_seqlens, context_lengths, token_pool, page_table, input_ids, positions, slots,
            batch, num_tokens, token_pool.shape[1], page_table.shape[1],
            PAGE_SIZE=page_size, BLOCK=BLOCK, SEARCH=32, num_warps=4,
        )  # fmt: skip


def append_tokens(tokens: Tensor, rows: Tensor, token_pool: Tensor, lengths: Tensor) -> None:
    """tokens [B] (int32 or int64) become the last of their rows, whose lengths grow by 1; a full row stays as it is.

    A token below 0, which is none, becomes 0: the step after it must read some embedding.

    A row may be named once.
    """
    _check_state(rows, token_pool, lengths)
    check_tensor("tokens", tokens, (rows.shape[0],), INDICES)
    if rows.shape[0]:
        _append_kernel[(triton.cdiv(rows.shape[0], BLOCK),)](
            tokens, rows, token_pool, lengths, rows.shape[0], token_pool.shape[1], BLOCK=BLOCK, num_warps=4
        )


def _check_state(rows: Tensor, token_pool: Tensor, lengths: Tensor) -> None:
    check_tensor("rows", rows, (None,), (torch.int32,))
    check_tensor("token_pool", token_pool, (None, None), (torch.int32,))
    check_tensor("lengths", lengths, (token_pool.shape[0],), (torch.int32,))


@triton.jit(do_not_specialize=["batch"])
def _prepare_kernel(
    rows_ptr, pool_ptr, lengths_ptr, table_ptr, ids_ptr, positions_ptr, slots_ptr, contexts_ptr,
    batch, max_len, max_pages, PAGE_SIZE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    entry = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = entry < batch
    row = tl.load(rows_ptr + entry, mask=inside, other=-1).to(tl.int64)
    length = tl.load(lengths_ptr + row, mask=row >= 0, other=0)
    active = length > 0
    position = tl.where(active, length - 1, 0)
    token = tl.load(pool_ptr + row * max_len + position, mask=active, other=0)
    page = tl.load(table_ptr + row * max_pages + position // PAGE_SIZE, mask=active, other=0).to(tl.int64)
    slot = tl.where(active, page * PAGE_SIZE + position % PAGE_SIZE, -1)
    tl.store(ids_ptr + entry, token, mask=inside)
    tl.store(positions_ptr + entry, position, mask=inside)
    tl.store(slots_ptr + entry, slot, mask=inside)
    tl.store(contexts_ptr + entry, length, mask=inside)


@triton.jit(do_not_specialize=["batch", "num_tokens"])
def _prefill_kernel(
    rows_ptr, cu_ptr, contexts_ptr, pool_ptr, table_ptr, ids_ptr, positions_ptr, slots_ptr,
    batch, num_tokens, max_len, max_pages,
    PAGE_SIZE: tl.constexpr, BLOCK: tl.constexpr, SEARCH: tl.constexpr,
):  # fmt: skip
    flat = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    sequence = tl.zeros([BLOCK], tl.int32)  # how many sequences end at or before this token
    for start in range(0, batch, SEARCH):
        index = start + tl.arange(0, SEARCH)
        ends = tl.load(cu_ptr + index + 1, mask=index < batch, other=0x7FFFFFFF)
        sequence += tl.sum((ends[None, :] <= flat[:, None]).to(tl.int32), 1)
    active = (flat < num_tokens) & (sequence < batch)
    end = tl.load(cu_ptr + sequence + 1, mask=active, other=0)
    context = tl.load(contexts_ptr + sequence, mask=active, other=0)
    row = tl.load(rows_ptr + sequence, mask=active, other=0).to(tl.int64)
    position = tl.where(active, context - end + flat, 0)
    token = tl.load(pool_ptr + row * max_len + position, mask=active, other=0)
    page = tl.load(table_ptr + row * max_pages + position // PAGE_SIZE, mask=active, other=0).to(tl.int64)
    tl.store(ids_ptr + flat, token, mask=flat < num_tokens)
    tl.store(positions_ptr + flat, position, mask=flat < num_tokens)
    slot = tl.where(active, page * PAGE_SIZE + position % PAGE_SIZE, -1)
    tl.store(slots_ptr + flat, slot, mask=flat < num_tokens)


@triton.jit(do_not_specialize=["batch"])
def _append_kernel(tokens_ptr, rows_ptr, pool_ptr, lengths_ptr, batch, max_len, BLOCK: tl.constexpr):
    entry = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = entry < batch
    row = tl.load(rows_ptr + entry, mask=inside, other=-1).to(tl.int64)
    length = tl.load(lengths_ptr + row, mask=row >= 0, other=0)
    active = (row >= 0) & (length < max_len)
    token = tl.maximum(tl.load(tokens_ptr + entry, mask=inside, other=0), 0)
    tl.store(pool_ptr + row * max_len + length, token, mask=active)
    tl.store(lengths_ptr + row, length + 1, mask=active)
