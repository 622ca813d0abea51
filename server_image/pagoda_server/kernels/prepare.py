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
    first: Tensor,
) -> None:
    """Finds for each of rows [B] int32 its last token, that token's position and slot, and its context's length.

    Writes input_ids, positions and slots [N] (int32 or int64) from `first` [1] int32 on, as far as they reach, and
    context_lengths [B] int32. Padding, and a row of length 0, gets token 0, position 0, slot -1 and length 0.
    """
    batch, num_tokens = rows.shape[0], input_ids.shape[0]
    _check_state(rows, token_pool, lengths)
    check_tensor("page_table", page_table, (token_pool.shape[0], None), (torch.int32,))
    for name, tensor in (("input_ids", input_ids), ("positions", positions), ("slots", slots)):
        check_tensor(name, tensor, (num_tokens,), INDICES)
    check_tensor("context_lengths", context_lengths, (batch,), (torch.int32,))
    check_tensor("first", first, (1,), (torch.int32,))
    if batch:
        _prepare_kernel[(triton.cdiv(batch, BLOCK),)](
            rows, token_pool, lengths, page_table, input_ids, positions, slots, context_lengths, first,
            batch, num_tokens, token_pool.shape[1], page_table.shape[1],
            PAGE_SIZE=page_size, BLOCK=BLOCK, num_warps=4,
        )  # fmt: skip


def set_lengths(rows: Tensor, context_lengths: Tensor, lengths: Tensor) -> None:
    """Sets the lengths of rows [B] int32 to context_lengths [B] int32; -1 is padding. A row may be named once."""
    batch = rows.shape[0]
    check_tensor("rows", rows, (None,), (torch.int32,))
    check_tensor("context_lengths", context_lengths, (batch,), (torch.int32,))
    check_tensor("lengths", lengths, (None,), (torch.int32,))
    if batch:
        _length_kernel[(triton.cdiv(batch, BLOCK),)](rows, context_lengths, lengths, batch, BLOCK=BLOCK, num_warps=4)


def append_tokens(tokens: Tensor, rows: Tensor, token_pool: Tensor, lengths: Tensor) -> None:
    """Appends tokens [B] (int32 or int64) to their rows, whose lengths grow by 1; a full row stays as it is.

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


@triton.jit(do_not_specialize=["batch", "num_tokens"])
def _prepare_kernel(
    rows_ptr, pool_ptr, lengths_ptr, table_ptr, ids_ptr, positions_ptr, slots_ptr, contexts_ptr, first_ptr,
    batch, num_tokens, max_len, max_pages, PAGE_SIZE: tl.constexpr, BLOCK: tl.constexpr,
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
    tl.store(contexts_ptr + entry, length, mask=inside)
    place = tl.load(first_ptr) + entry
    inside = inside & (place < num_tokens)
    tl.store(ids_ptr + place, token, mask=inside)
    tl.store(positions_ptr + place, position, mask=inside)
    tl.store(slots_ptr + place, slot, mask=inside)


@triton.jit(do_not_specialize=["batch"])
def _length_kernel(rows_ptr, contexts_ptr, lengths_ptr, batch, BLOCK: tl.constexpr):
    entry = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    row = tl.load(rows_ptr + entry, mask=entry < batch, other=-1)
    context = tl.load(contexts_ptr + entry, mask=row >= 0, other=0)
    tl.store(lengths_ptr + row, context, mask=row >= 0)


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
