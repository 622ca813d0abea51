"""Which rows of a step are chosen for again, by logits of their own, and their inputs at fixed places on the device."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pagoda_server.engine.batch import Chunk
from pagoda_server.kernels.adjust import ALLOWED, HELD, MASKED, PENALIZED, Members
from pagoda_server.runtime.gpu.adjustments import count_words
from pagoda_server.runtime.gpu.device_state import DeviceRow
from pagoda_server.runtime.gpu.staging import Ints, align
from pagoda_server.runtime.history import has_penalties, holds_stop_back


@dataclass(frozen=True, slots=True)
class Member:
    place: int
    """Of its logits in the batch."""
    chunk: Chunk

    @property
    def is_constrained(self) -> bool:
        return self.chunk.request.is_constrained


def list_members(chosen: Sequence[Chunk], rows: Sequence[DeviceRow]) -> list[Member]:
    """Returns the members among the chunks that choose, which lie in the batch in this order."""
    return [
        Member(place, chunk) for place, chunk in enumerate(chosen) if chunk.end < rows[chunk.request.row].own_logits_end
    ]


def count_asks(chunk: Chunk) -> int:
    """Returns what the chunk's choice asks for beside the lists of its row, as `Members.asks` has it."""
    request = chunk.request
    return (
        has_penalties(request.sampling) * PENALIZED
        + (request.sampling.allowed_token_ids is not None) * ALLOWED
        + request.is_constrained * MASKED
        + holds_stop_back(request, chunk.end) * HELD
    )


class MemberInputs:
    """The inputs of a second choice among M members at most, so that a CUDA graph can hold it."""

    def __init__(self, max_members: int, vocab_size: int, device: torch.device) -> None:
        self._lists = torch.full((4, align(max_members)), -1, dtype=torch.int32, device=device)
        self._masks = torch.zeros((max_members, count_words(vocab_size)), dtype=torch.int32, device=device)

    def view(self, bucket: int) -> tuple[Members, Tensor]:
        """Returns the members and their masks [bucket, words]."""
        places, rows, positions, asks = self._lists[:, :bucket]
        return Members(places, rows, positions, asks), self._masks[:bucket]

    def pack(self, bucket: int, members: Sequence[Member]) -> Ints:
        """Returns the inputs of a choice that is run in this bucket, flat, on the host."""
        packed = np.full((4, bucket), -1, np.int32)
        packed[:, : len(members)] = np.asarray(
            [
                (member.place, member.chunk.request.row, member.chunk.end, count_asks(member.chunk))
                for member in members
            ],
            np.int32,
        ).T
        return packed.ravel()

    def load(self, packed: Tensor, masks: Tensor | None = None) -> None:
        """Copies what `pack` returned, on the device, to its fixed place, and the masks of the first members."""
        lists = packed.view(4, -1)
        self._lists[:, : lists.shape[1]].copy_(lists)
        if masks is not None:
            self._masks.view(-1)[: masks.numel()].copy_(masks)

    def clear(self, bucket: int) -> None:
        """Loads a choice of nobody."""
        self._lists[:, :bucket].fill_(-1)
