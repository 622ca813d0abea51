"""One copy to the device a step: small arrays are packed into pinned memory and sliced again on the other side."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

RING = 3
"""Buffers in turn: with one step ahead, the copy before the last is over when a buffer comes round again."""
FIRST_CAPACITY = 1 << 16


class Staging:
    """Buffers grow when a step asks for more: many requests that share a long prefix bring many pages at once."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._ring = [self._build(FIRST_CAPACITY) for _ in range(RING)]
        self._turn = 0

    def send(self, arrays: Sequence[NDArray[np.int32]]) -> list[Tensor]:
        """The arrays on the device, flat, valid for this step."""
        values = np.concatenate([array.ravel() for array in arrays])
        self._turn = (self._turn + 1) % RING
        if values.size > self._ring[self._turn][0].numel():
            self._ring[self._turn] = self._build(2 * values.size)
        host, device = self._ring[self._turn]
        host.numpy()[: values.size] = values
        device[: values.size].copy_(host[: values.size], non_blocking=True)
        return list(torch.split(device[: values.size], [array.size for array in arrays]))

    def _build(self, capacity: int) -> tuple[Tensor, Tensor]:
        """int32 values: pinned on the host, and on the device."""
        host = torch.empty(capacity, dtype=torch.int32, pin_memory=self._device.type == "cuda")
        return host, torch.empty(capacity, dtype=torch.int32, device=self._device)
