"""The inputs of a step, at fixed places on the device, so that a CUDA graph can hold the step.

A step with prompts is flat over N tokens: those of the prompts' chunks one after another, then one for each request
that decodes, then padding. N is a bucket; how many of each there are is read by the kernels from the buffer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from pagoda_server.engine.batch import Chunk
from pagoda_server.runtime.gpu.staging import Ints, align

MAX_CAPTURED_TOKENS = 4096
"""Tokens of a step from which the host is faster than the device anyway."""


@dataclass(frozen=True, slots=True)
class Mixed:
    """On the device, int32. R is the most requests that run, or N where it is less: each has a token at least."""

    input_ids: Tensor
    """[N]; of the decodes the device knows better, here and in the next two."""
    positions: Tensor
    """[N]"""
    slots: Tensor
    """[N]: -1 for padding."""
    cu_seqlens: Tensor
    """[R + 1]: where each chunk's tokens begin; after the last, the decodes."""
    rows: Tensor
    """[R]: of the chunks, -1 for none."""
    lengths: Tensor
    """[R]: of the chunks' contexts, with the chunk; 0 for none."""
    decode_rows: Tensor
    """[R]: -1 for none."""
    first_decode: Tensor
    """[1]: where the decodes begin in the flat batch."""
    sampled: Tensor
    """[R]: places in the flat batch of the tokens that choose the next: the decodes, then the ends of prompts."""
    sampled_rows: Tensor
    """[R]: -1 for none."""


class StepInputs(Protocol):
    def pack(self, bucket: int, decodes: Sequence[Chunk], prompts: Sequence[Chunk]) -> Ints:
        """Returns the inputs of a step that is run in this bucket, flat, on the host."""

    def load(self, packed: Tensor) -> None:
        """Copies what `pack` returned, on the device, to its fixed place."""

    def clear(self, bucket: int) -> None:
        """Loads a step of nobody."""


class DecodeInputs:
    """The inputs of a step without prompts: its rows alone, as the state knows the rest."""

    def __init__(self, max_requests: int, device: torch.device) -> None:
        self._rows = torch.full((max_requests,), -1, dtype=torch.int32, device=device)
        self.first_decode = torch.zeros(1, dtype=torch.int32, device=device)
        """[1]: where the decodes begin in the flat batch, as in `Mixed`."""

    def view(self, bucket: int) -> Tensor:
        """Returns the rows [bucket] int32, -1 for none."""
        return self._rows[:bucket]

    def load(self, packed: Tensor) -> None:
        self._rows[: packed.shape[0]].copy_(packed)

    def clear(self, bucket: int) -> None:
        self._rows[:bucket].fill_(-1)

    def pack(self, bucket: int, decodes: Sequence[Chunk], prompts: Sequence[Chunk]) -> Ints:
        assert not prompts, "a step without prompts has some"
        packed = np.full(bucket, -1, np.int32)
        packed[: len(decodes)] = [chunk.request.row for chunk in decodes]
        return packed


class MixedInputs:
    def __init__(self, max_tokens: int, max_requests: int, page_size: int, device: torch.device) -> None:
        self._max_requests, self._page_size = max_requests, page_size
        self._buffer = torch.full((self._starts(max_tokens)[-1],), -1, dtype=torch.int32, device=device)

    def view(self, bucket: int) -> Mixed:
        starts, sizes = self._starts(bucket), self._sizes(bucket)
        return Mixed(*(self._buffer[start : start + size] for start, size in zip(starts, sizes, strict=False)))

    def load(self, packed: Tensor) -> None:
        self._buffer[: packed.shape[0]].copy_(packed)

    def clear(self, bucket: int) -> None:
        self.load(torch.from_numpy(self.pack(bucket, (), ())).to(self._buffer.device))

    def pack(self, bucket: int, decodes: Sequence[Chunk], prompts: Sequence[Chunk]) -> Ints:
        starts, sizes = self._starts(bucket), self._sizes(bucket)
        packed = np.zeros(starts[-1], np.int32)
        parts = [packed[start : start + size] for start, size in zip(starts, sizes, strict=False)]
        input_ids, positions, slots, cu_seqlens, rows, lengths, decode_rows, first_decode, sampled, sampled_rows = parts
        for unset in (slots, rows, decode_rows, sampled_rows):
            unset.fill(-1)
        ends = list(accumulate(chunk.num_tokens for chunk in prompts))
        num_tokens = ends[-1] if ends else 0
        for chunk, end in zip(prompts, ends, strict=True):
            place = slice(end - chunk.num_tokens, end)
            known = chunk.request.token_ids[chunk.start : chunk.end]
            assert len(known) == chunk.num_tokens, "a prompt has a token that only the device knows"
            input_ids[place] = known
            positions[place] = np.arange(chunk.start, chunk.end)
            slots[place] = self._find_slots(chunk)
        cu_seqlens[1 : len(ends) + 1] = ends
        cu_seqlens[len(ends) + 1 :] = num_tokens
        rows[: len(prompts)] = [chunk.request.row for chunk in prompts]
        lengths[: len(prompts)] = [chunk.end for chunk in prompts]
        decode_rows[: len(decodes)] = [chunk.request.row for chunk in decodes]
        first_decode[0] = num_tokens
        last_tokens = [end - 1 for chunk, end in zip(prompts, ends, strict=True) if chunk.is_sampled]
        count = len(decodes) + len(last_tokens)
        sampled[:count] = [*range(num_tokens, num_tokens + len(decodes)), *last_tokens]
        sampled_rows[:count] = [
            *(chunk.request.row for chunk in decodes),
            *(chunk.request.row for chunk in prompts if chunk.is_sampled),
        ]
        return packed

    def _find_slots(self, chunk: Chunk) -> Ints:
        size, positions = self._page_size, np.arange(chunk.start, chunk.end, dtype=np.int32)
        first = chunk.start // size
        pages = np.asarray(chunk.request.page_ids[first : (chunk.end - 1) // size + 1], np.int32)
        slots: Ints = pages[positions // size - first] * size + positions % size
        return slots

    def _starts(self, bucket: int) -> list[int]:
        """Returns where each part of `Mixed` begins; after the last, the whole size."""
        return [0, *accumulate(map(align, self._sizes(bucket)))]

    def _sizes(self, bucket: int) -> list[int]:
        """Returns the size of each part of `Mixed`, in its order."""
        requests = min(self._max_requests, bucket)
        return [bucket, bucket, bucket, requests + 1, requests, requests, requests, 1, requests, requests]


def choose_token_buckets(max_tokens: int) -> list[int]:
    """Returns steps of 64 to 1,024, of 128 to 2,048, of 256 beyond; the last is `max_tokens`."""
    ladder = [*range(64, 1024, 64), *range(1024, 2048, 128), *range(2048, max_tokens, 256)]
    return [size for size in ladder if size < max_tokens] + [max_tokens]
