"""Results on their way to the host: copied beside the device's work, waited for when they are needed."""

from collections.abc import Callable

import torch
from torch import Tensor


def copy_back(tensor: Tensor) -> Callable[[], Tensor]:
    """Begins to copy to the host; returns a function that waits for the copy."""
    if tensor.device.type != "cuda":
        copied = tensor.clone()
        return lambda: copied
    back = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    back.copy_(tensor, non_blocking=True)
    done = torch.cuda.Event()  # type: ignore[no-untyped-call]
    done.record()

    def read() -> Tensor:
        done.synchronize()
        return back

    return read
