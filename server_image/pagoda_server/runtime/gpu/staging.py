"""One copy to the device a step: small arrays are packed into pinned memory and sliced again on the other side."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

RING = 3
"""Buffers in turn: with one step ahead, the copy before the last is over when a buffer comes round again."""
FIRST_CAPACITY = 1 << 16
ALIGNMENT = 4
"""int32 values in 16 bytes."""
Ints = NDArray[np.int32]


class Staging:
    """Buffers grow when a step asks for more: many requests that share a long prefix bring many pages at once."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._ring = [self._build(FIRST_CAPACITY) for _ in range(RING)]
        self._turn = 0

    def send(self, arrays: Sequence[Ints]) -> list[Tensor]:
        """Returns the arrays on the device, flat, valid for this step.

        Each begins at a multiple of 16 bytes: Triton compiles a kernel anew for a pointer that is aligned otherwise.
        """
        starts = [0, *np.cumsum([align(array.size) for array in arrays]).tolist()]
        self._turn = (self._turn + 1) % RING
        if starts[-1] > self._ring[self._turn][0].numel():
            self._ring[self._turn] = self._build(2 * starts[-1])
        host, device = self._ring[self._turn]
        for start, array in zip(starts, arrays, strict=False):
            host.numpy()[start : start + array.size] = array.ravel()
        device[: starts[-1]].copy_(host[: starts[-1]], non_blocking=True)
        return [device[start : start + array.size] for start, array in zip(starts, arrays, strict=False)]

    def send_groups(self, groups: Sequence[Sequence[Ints]]) -> list[list[Tensor]]:
        """Returns all of it in one copy, as `send` does each."""
        sent = iter(self.send([array for group in groups for array in group]))
        return [[next(sent) for _ in group] for group in groups]

    def _build(self, capacity: int) -> tuple[Tensor, Tensor]:
        """Allocates int32 values, pinned on the host and on the device."""
        host = torch.empty(capacity, dtype=torch.int32, pin_memory=self._device.type == "cuda")
        return host, torch.empty(capacity, dtype=torch.int32, device=self._device)


def align(size: int) -> int:
    """Rounds up to 16 bytes of int32: Triton compiles a kernel anew for a pointer that is aligned otherwise."""
    return -(-size // ALIGNMENT) * ALIGNMENT
