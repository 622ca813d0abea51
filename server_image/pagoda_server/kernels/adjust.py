"""Logits as the requests themselves want them: penalties, biases, tokens that are not allowed. One pass for all of it.

Only few rows of a batch ask. Their logits are copied in float32 to a buffer of their own, adjusted on the way, and the
next token is chosen there (`sampler.py`): the model's own stay as they are, for log-probabilities. `settle` then puts
the choice where the batch's is. All that a row asks for is in its row of `AdjustTable`, so no step sends it again.
"""

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from pagoda_server.kernels.arguments import FLOATS, check_tensor

BLOCK = 2048
LISTED = 256
"""Entries of a list that are looked at together."""
SETTLED = 128
HEADER = 12
"""int32 at the beginning of a row's entry: as `Header` names them."""
PENALIZED, ALLOWED, MASKED, HELD = 1, 2, 4, 8
"""What a member asks for beside its lists: penalties, allowed tokens alone, a mask, stop tokens held back."""
NO_BEST, NOTHING_ALLOWED = -1, -2
"""As `engine.runner` has them, which kernels do not know."""
MAX_COUNTED = 16_383


@dataclass(frozen=True, slots=True)
class Header:
    """Where in a row's entry its lists begin, in int32 from its start, and how long they are; 0 for none."""

    presence: int = 0
    """The bits of a float32, as the next two are."""
    frequency: int = 0
    repetition: int = 0
    prompt_length: int = 0
    """Tokens of the sequence that are not the answer's."""
    biases: int = 0
    """A list of tokens, each at most once, then one of float32 bits that are added to their logits."""
    num_biases: int = 0
    bans: int = 0
    """A list of tokens, then one of how many tokens before forbid each (0: always; -1: where `HELD`), then one of
    where these begin, in int32 from the entry's start."""
    num_bans: int = 0
    longest_ban: int = 0
    """The most tokens before that forbid one."""
    allowed: int = 0
    """A bit for each token of the vocabulary."""


@dataclass(frozen=True, slots=True)
class AdjustTable:
    """What the GPU keeps of rows whose logits are adjusted."""

    entries: Tensor
    """[R, width] int32: a `Header` and its lists."""
    counts: Tensor
    """[R, vocab] int16: twice how often the answer has a token, and one more where the prompt has it."""
    token_pool: Tensor
    """[R, max_len] int32: the answer's tokens, each at its position in the sequence."""


@dataclass(frozen=True, slots=True)
class Members:
    """The rows of a batch that are adjusted, [M] int32 each, or buffers of which the first M count."""

    places: Tensor
    """Where each one's logits are in the batch."""
    rows: Tensor
    """Its row in the table; -1 is padding."""
    positions: Tensor
    """That of the token to choose, in its sequence."""
    asks: Tensor
    """A sum of `PENALIZED`, `ALLOWED`, `MASKED`, `HELD`."""


def adjust(logits: Tensor, table: AdjustTable, members: Members, masks: Tensor, out: Tensor) -> None:
    """Writes the adjusted logits of M members to out [M, vocab] float32, from logits [S, vocab].

    masks [M, words] int32: bit `t % 32` of word `t // 32` allows token t to a member that is `MASKED`. Padding stays
    as it was. Order: penalties, biases, then -inf for what is not allowed.
    """
    num_members, vocab_size = out.shape
    words = triton.cdiv(vocab_size, 32)
    check_tensor("logits", logits, (None, vocab_size), FLOATS)
    check_tensor("out", out, (None, None), (torch.float32,))
    check_tensor("masks", masks, (num_members, words), (torch.int32,))
    _check_table(table, vocab_size)
    _check_members(members, num_members)
    if num_members:
        _adjust_kernel[(triton.cdiv(vocab_size, BLOCK), num_members)](
            logits, members.places, members.rows, members.positions, members.asks,
            table.entries, table.counts, table.token_pool, masks, out,
            table.entries.shape[1], table.token_pool.shape[1],
            VOCAB=vocab_size, BLOCK=BLOCK, LISTED=LISTED, num_warps=4,
        )  # fmt: skip


def settle(chosen: Tensor, table: AdjustTable, members: Members, tokens: Tensor) -> None:
    """Puts what M members chose, chosen [M] int32, into their places of tokens [S] int32 and into their rows.

    Counts it for a `PENALIZED` one. Where nothing was chosen although the batch had chosen something, `NOTHING_ALLOWED`
    is put; in a row, 0 stands for both.
    """
    num_members = chosen.shape[0]
    check_tensor("chosen", chosen, (None,), (torch.int32,))
    check_tensor("tokens", tokens, (None,), (torch.int32,))
    _check_table(table, table.counts.shape[1])
    _check_members(members, num_members)
    if num_members:
        _settle_kernel[(triton.cdiv(num_members, SETTLED),)](
            chosen, members.places, members.rows, members.positions, members.asks,
            table.counts, table.token_pool, tokens, num_members, table.token_pool.shape[1],
            VOCAB=table.counts.shape[1], BLOCK=SETTLED, num_warps=4,
        )  # fmt: skip


def _check_table(table: AdjustTable, vocab_size: int) -> None:
    num_rows = table.entries.shape[0]
    check_tensor("table.entries", table.entries, (None, None), (torch.int32,))
    check_tensor("table.counts", table.counts, (num_rows, vocab_size), (torch.int16,))
    check_tensor("table.token_pool", table.token_pool, (num_rows, None), (torch.int32,))


def _check_members(members: Members, num_members: int) -> None:
    for name in ("places", "rows", "positions", "asks"):
        check_tensor(f"members.{name}", getattr(members, name), (num_members,), (torch.int32,))


@triton.jit
def _read_bits(words_ptr, tokens, inside):
    """Reads whether each token's bit is set."""
    return (tl.load(words_ptr + tokens // 32, mask=inside, other=0) >> (tokens % 32)) & 1


@triton.jit
def _penalize(x, entry_ptr, counts_ptr, tokens, inside):
    presence = tl.load(entry_ptr).to(tl.float32, bitcast=True)
    frequency = tl.load(entry_ptr + 1).to(tl.float32, bitcast=True)
    repetition = tl.load(entry_ptr + 2).to(tl.float32, bitcast=True)
    seen = tl.load(counts_ptr + tokens, mask=inside, other=0).to(tl.int32)
    count = seen >> 1
    x = tl.where(seen > 0, tl.where(x > 0, x / repetition, x * repetition), x)
    return x - frequency * count.to(tl.float32) - tl.where(count > 0, presence, 0.0)


@triton.jit
def _add_biases(out_ptr, entry_ptr, start, count, first, BLOCK: tl.constexpr, LISTED: tl.constexpr):
    for done in range(0, count, LISTED):
        index = done + tl.arange(0, LISTED)
        token = tl.load(entry_ptr + start + index, mask=index < count, other=-1)
        here = (token >= first) & (token < first + BLOCK)
        bias = tl.load(entry_ptr + start + count + index, mask=here, other=0).to(tl.float32, bitcast=True)
        x = tl.load(out_ptr + token, mask=here, other=0.0)
        tl.store(out_ptr + token, x + bias, mask=here)


@triton.jit
def _ban(
    out_ptr, entry_ptr, pool_ptr, start, count, longest, position, held, first,
    VOCAB: tl.constexpr, BLOCK: tl.constexpr, LISTED: tl.constexpr,
):  # fmt: skip
    """Writes -inf for the tokens that are forbidden after those that the answer ends with."""
    num_answered = position - tl.load(entry_ptr + 3)
    for done in range(0, count, LISTED):
        index = done + tl.arange(0, LISTED)
        token = tl.load(entry_ptr + start + index, mask=index < count, other=-1)
        here = (token >= first) & (token < first + BLOCK) & (token < VOCAB)
        length = tl.load(entry_ptr + start + count + index, mask=here, other=0)
        before = tl.load(entry_ptr + start + 2 * count + index, mask=here, other=0)
        here = here & ((length >= 0) | (held != 0)) & (length <= num_answered)
        for back in range(1, tl.minimum(longest, num_answered) + 1):
            said = tl.load(pool_ptr + position - back)
            wanted = tl.load(entry_ptr + before + length - back, mask=here & (back <= length), other=0)
            here = here & ((back > length) | (wanted == said))
        tl.store(out_ptr + token, tl.full([LISTED], float("-inf"), tl.float32), mask=here)


@triton.jit(do_not_specialize=["width", "max_len"])
def _adjust_kernel(
    logits_ptr, places_ptr, rows_ptr, positions_ptr, asks_ptr, entries_ptr, counts_ptr, pool_ptr, masks_ptr, out_ptr,
    width, max_len, VOCAB: tl.constexpr, BLOCK: tl.constexpr, LISTED: tl.constexpr,
):  # fmt: skip
    """Runs on a grid (blocks, members)."""
    block, member = tl.program_id(0), tl.program_id(1).to(tl.int64)
    row = tl.load(rows_ptr + member).to(tl.int64)
    if row >= 0:
        asks = tl.load(asks_ptr + member)
        entry_ptr = entries_ptr + row * width
        out_ptr += member * VOCAB
        tokens = block * BLOCK + tl.arange(0, BLOCK)
        inside = tokens < VOCAB
        place = tl.load(places_ptr + member).to(tl.int64)
        x = tl.load(logits_ptr + place * VOCAB + tokens, mask=inside, other=0.0).to(tl.float32)
        if (asks & 1) != 0:
            x = _penalize(x, entry_ptr, counts_ptr + row * VOCAB, tokens, inside)
        if (asks & 2) != 0:
            allowed = _read_bits(entry_ptr + tl.load(entry_ptr + 9), tokens, inside)
            x = tl.where(allowed != 0, x, float("-inf"))
        if (asks & 4) != 0:
            words: tl.constexpr = (VOCAB + 31) // 32
            x = tl.where(_read_bits(masks_ptr + member * words, tokens, inside) != 0, x, float("-inf"))
        tl.store(out_ptr + tokens, x, mask=inside)
        num_biases, num_bans = tl.load(entry_ptr + 5), tl.load(entry_ptr + 7)
        if num_biases > 0:
            tl.debug_barrier()  # what a thread stored, others read
            _add_biases(out_ptr, entry_ptr, tl.load(entry_ptr + 4), num_biases, block * BLOCK, BLOCK, LISTED)
        if num_bans > 0:
            tl.debug_barrier()
            _ban(
                out_ptr, entry_ptr, pool_ptr + row * max_len, tl.load(entry_ptr + 6), num_bans, tl.load(entry_ptr + 8),
                tl.load(positions_ptr + member), asks & 8, block * BLOCK, VOCAB, BLOCK, LISTED,
            )  # fmt: skip


@triton.jit(do_not_specialize=["num_members", "max_len"])
def _settle_kernel(
    chosen_ptr, places_ptr, rows_ptr, positions_ptr, asks_ptr, counts_ptr, pool_ptr, tokens_ptr, num_members, max_len,
    VOCAB: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    member = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    row = tl.load(rows_ptr + member, mask=member < num_members, other=-1).to(tl.int64)
    active = row >= 0
    place = tl.load(places_ptr + member, mask=active, other=0)
    chosen = tl.load(chosen_ptr + member, mask=active, other=0)
    plain = tl.load(tokens_ptr + place, mask=active, other=0)
    tl.store(tokens_ptr + place, tl.where((chosen < 0) & (plain >= 0), -2, chosen), mask=active)
    token = tl.maximum(chosen, 0)
    position = tl.load(positions_ptr + member, mask=active, other=0)
    tl.store(pool_ptr + row * max_len + position, token, mask=active & (position < max_len))
    counted = active & (chosen >= 0) & ((tl.load(asks_ptr + member, mask=active, other=0) & 1) != 0)
    count_ptr = counts_ptr + row * VOCAB + token
    count = tl.load(count_ptr, mask=counted, other=0)
    tl.store(count_ptr, tl.where(count < 32766, count + 2, count), mask=counted)
