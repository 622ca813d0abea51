"""One copy to the device a step: small arrays are packed into pinned memory and sliced again on the other side."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

RING = 3
"""Pinned buffers in turn: with one step ahead, the copy before the last is over when a buffer comes round again."""


class Staging:
    def __init__(self, capacity: int, device: torch.device) -> None:
        """`capacity`: int32 values of a step."""
        pinned = device.type == "cuda"
        self._host = [torch.empty(capacity, dtype=torch.int32, pin_memory=pinned) for _ in range(RING)]
        self._device = [torch.empty(capacity, dtype=torch.int32, device=device) for _ in range(RING)]
        self._turn = 0

    def send(self, arrays: Sequence[NDArray[np.int32]]) -> list[Tensor]:
        """The arrays on the device, flat, valid for this step."""
        self._turn = (self._turn + 1) % RING
        host, device = self._host[self._turn], self._device[self._turn]
        values = np.concatenate([array.ravel() for array in arrays])
        if values.size > host.numel():
            raise ValueError(f"a step of {values.size} values is staged; there is room for {host.numel()}")
        host.numpy()[: values.size] = values
        device[: values.size].copy_(host[: values.size], non_blocking=True)
        sizes = [array.size for array in arrays]
        return list(torch.split(device[: values.size], sizes))
