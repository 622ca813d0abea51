"""What requests ask of their logits, kept on the device: sent once, when a row is given to a request.

Only what the answer's tokens change comes later, and the device sees to it: `kernels.adjust.settle` counts them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from pagoda_server.engine.request import Request
from pagoda_server.kernels.adjust import HEADER, AdjustTable, Header
from pagoda_server.runtime.gpu.staging import Ints
from pagoda_server.runtime.history import MAX_COUNTED, has_penalties
from pagoda_server.wire import MAX_BAD_WORD_TOKENS, MAX_BAD_WORDS, MAX_BIASES, MAX_STOP_TOKENS, Sampling

HELD_BACK = -1
"""In place of how many tokens forbid one: it is a stop token."""


@dataclass(frozen=True, slots=True)
class Ban:
    """A token that must not come after those before it; or, `HELD_BACK`, while stop tokens are held back."""

    token: int
    before: tuple[int, ...] = ()
    is_held_back: bool = False


def build_adjust_table(num_rows: int, vocab_size: int, num_eos: int, token_pool: Tensor) -> AdjustTable:
    """Allocates it: two bytes for each row and token, and lists as long as a request may have them."""
    bans = MAX_BAD_WORDS + MAX_STOP_TOKENS + num_eos
    width = HEADER + 2 * MAX_BIASES + 3 * bans + MAX_BAD_WORD_TOKENS + count_words(vocab_size)
    return AdjustTable(
        entries=torch.zeros((num_rows, width), dtype=torch.int32, device=token_pool.device),
        counts=torch.zeros((num_rows, vocab_size), dtype=torch.int16, device=token_pool.device),
        token_pool=token_pool,
    )


def count_words(vocab_size: int) -> int:
    """Counts the int32 that have a bit for each token."""
    return -(-vocab_size // 32)


def list_bans(request: Request, vocab_size: int) -> list[Ban]:
    words = [Ban(word[-1], tuple(word[:-1])) for word in request.sampling.bad_words]
    stops = [token_id for token_id in sorted(request.stop_token_ids) if 0 <= token_id < vocab_size]
    held = stops if request.sampling.min_tokens and not request.is_constrained else []
    return words + [Ban(token_id, is_held_back=True) for token_id in held]


def pack_entry(request: Request, vocab_size: int) -> Ints:
    """Returns the request's entry of the table: a header and the lists that it has."""
    sampling, bans = request.sampling, list_bans(request, vocab_size)
    biases = list(sampling.logit_bias)
    starts = np.cumsum([HEADER, 2 * len(biases), 3 * len(bans), sum(len(ban.before) for ban in bans)]).tolist()
    lists = [
        np.asarray([token for token, _ in biases], np.int32),
        _bits([bias for _, bias in biases]),
        *_pack_bans(bans, starts[2]),
        _pack_allowed(sampling, vocab_size),
    ]
    presence, frequency, repetition = _bits(
        [sampling.presence_penalty, sampling.frequency_penalty, sampling.repetition_penalty]
    ).tolist()
    header = Header(
        presence=presence,
        frequency=frequency,
        repetition=repetition,
        prompt_length=request.num_prompt_tokens,
        biases=starts[0],
        num_biases=len(biases),
        bans=starts[1],
        num_bans=len(bans),
        longest_ban=max((len(ban.before) for ban in bans), default=0),
        allowed=starts[3],
    )
    packed = np.zeros(HEADER, np.int32)
    packed[: len(astuple(header))] = astuple(header)
    return np.concatenate([packed, *lists])


def _pack_bans(bans: Sequence[Ban], start: int) -> Iterator[Ints]:
    """Yields tokens, numbers of tokens before each, where those begin, and those themselves, which lie at `start`."""
    lengths = [len(ban.before) for ban in bans]
    yield np.asarray([ban.token for ban in bans], np.int32)
    yield np.asarray([HELD_BACK if ban.is_held_back else len(ban.before) for ban in bans], np.int32)
    yield (start + np.cumsum([0, *lengths])[: len(bans)]).astype(np.int32)
    yield np.fromiter(chain.from_iterable(ban.before for ban in bans), np.int32, sum(lengths))


def _pack_allowed(sampling: Sampling, vocab_size: int) -> Ints:
    if sampling.allowed_token_ids is None:
        return np.zeros(0, np.int32)
    return pack_bits(sampling.allowed_token_ids, vocab_size)


def pack_bits(token_ids: Sequence[int], vocab_size: int) -> Ints:
    """Returns [words] int32: bit `t % 32` of word `t // 32` is set for each of these tokens."""
    allowed = np.zeros(count_words(vocab_size) * 32, np.bool_)
    allowed[np.asarray(token_ids, np.int64)] = True
    return np.packbits(allowed, bitorder="little").view(np.int32)


def _bits(values: Sequence[float]) -> Ints:
    return np.asarray(values, np.float32).view(np.int32)


@dataclass(frozen=True, slots=True)
class Opening:
    """What rows bring that requests with own logits have now, as parallel arrays."""

    entry_rows: Ints
    """[E] with `entry_columns` and `entry_values`: the entries, flat."""
    entry_columns: Ints
    entry_values: Ints
    penalized_rows: Ints
    """[P]: rows that begin to count anew."""
    counted_rows: Ints
    """[C] with the next two: what they count already."""
    counted_tokens: Ints
    counts: Ints
    said_rows: Ints
    """[D] with the next two: tokens of the answer that the row has not chosen itself."""
    said_positions: Ints
    said_tokens: Ints

    def arrays(self) -> list[Ints]:
        """Returns them in the order of the fields."""
        return [getattr(self, field.name) for field in fields(self)]


def plan_opening(requests: Sequence[Request], vocab_size: int) -> Opening:
    """Returns what these requests' rows bring; the host knows all of their tokens."""
    entries = [pack_entry(request, vocab_size) for request in requests]
    penalized = [request for request in requests if has_penalties(request.sampling)]
    counted = [count_tokens(request, vocab_size) for request in penalized]
    said = [_list_said(request) for request in requests]
    return Opening(
        entry_rows=_repeat_rows(requests, [entry.size for entry in entries]),
        entry_columns=_join([np.arange(entry.size, dtype=np.int32) for entry in entries]),
        entry_values=_join(entries),
        penalized_rows=np.asarray([request.row for request in penalized], np.int32),
        counted_rows=_repeat_rows(penalized, [tokens.size for tokens, _ in counted]),
        counted_tokens=_join([tokens for tokens, _ in counted]),
        counts=_join([counts for _, counts in counted]),
        said_rows=_repeat_rows(requests, [tokens.size for _, tokens in said]),
        said_positions=_join([positions for positions, _ in said]),
        said_tokens=_join([tokens for _, tokens in said]),
    )


def count_tokens(request: Request, vocab_size: int) -> tuple[Ints, Ints]:
    """Returns the tokens that the sequence has, and for each what the table's `counts` hold."""
    token_ids = np.asarray(request.token_ids, np.int64)
    prompt, answer = token_ids[: request.num_prompt_tokens], token_ids[request.num_prompt_tokens :]
    counts = 2 * np.bincount(answer, minlength=vocab_size).clip(max=MAX_COUNTED)
    counts[prompt] += 1  # NB: once for each token, however often the prompt has it
    (tokens,) = counts.nonzero()
    return tokens.astype(np.int32), counts[tokens].astype(np.int32)


def _list_said(request: Request) -> tuple[Ints, Ints]:
    """Returns the last tokens of the answer that bad words may begin with, and their positions."""
    longest = max((len(word) - 1 for word in request.sampling.bad_words), default=0)
    end = len(request.token_ids)
    first = max(request.num_prompt_tokens, end - longest)
    return np.arange(first, end, dtype=np.int32), np.asarray(request.token_ids[first:end], np.int32)


def apply_opening(table: AdjustTable, opening: Sequence[Tensor]) -> None:
    """Writes an opening, its arrays on the device, to the table."""
    entry_rows, columns, values, penalized, counted_rows, tokens, counts, said_rows, positions, said = opening
    table.entries.index_put_((entry_rows.long(), columns.long()), values)
    if penalized.numel():
        table.counts.index_fill_(0, penalized.long(), 0)
        table.counts.index_put_((counted_rows.long(), tokens.long()), counts.to(torch.int16))
    if said.numel():
        table.token_pool.index_put_((said_rows.long(), positions.long()), said)


def _repeat_rows(requests: Sequence[Request], sizes: Sequence[int]) -> Ints:
    return np.repeat(np.asarray([request.row for request in requests], np.int32), sizes)


def _join(arrays: Sequence[Ints]) -> Ints:
    return np.concatenate(arrays) if arrays else np.zeros(0, np.int32)
