"""The ranks of one model as `model.shard.Group`: torch.distributed (NCCL on GPUs, gloo on CPU), and one-shot sums.

A decode step of a divided model sums twice a layer, a few hundred KiB each time, and NCCL's latency would be most of
it. One-shot: every rank writes its share into memory that the others see, and each reads all and sums for itself, in
the order of the ranks. All can be captured in a CUDA graph. NVLink multicast is never used: not every machine with
NVLink lets a process have it.
"""

import gc
import logging
import os
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from pagoda_server.model.shard import ALONE, Group, Shard

log = logging.getLogger(__name__)
ENVIRONMENT = {
    "NCCL_NVLS_ENABLE": "0",
    "TORCH_SYMM_MEM_DISABLE_MULTICAST": "1",
    "NVSHMEM_DISABLE_NVLS": "1",
    "NCCL_SOCKET_IFNAME": "lo",  # all ranks are in one pod
    "GLOO_SOCKET_IFNAME": "lo",
}
PATIENCE = timedelta(minutes=5)
"""For a rank that is late: it compiles kernels, or its file cache is cold."""
ONE_SHOT_BYTES = 2 * 1024 * 1024
"""Divided by the number of ranks: the largest sum in one shot. Each rank reads that from every other."""
ONE_SHOT_DTYPES = (torch.bfloat16, torch.float32)


def join_group(shard: Shard, device: torch.device, dtype: torch.dtype, store: Path) -> Group:
    """All ranks call it once, with a `store` file that none had used; `device` is this rank's own.

    Once in a process: memory that ranks share is known by a name, which a second group would have too.

    It waits for the others. Raises `torch.distributed.DistError` or RuntimeError when they cannot be reached.
    """
    if shard.size == 1:
        return ALONE
    os.environ.update(ENVIRONMENT)
    on_gpu = device.type == "cuda"
    dist.init_process_group(
        "nccl" if on_gpu else "gloo",
        store=dist.FileStore(str(store), shard.size),  # type: ignore[attr-defined]
        rank=shard.rank,
        world_size=shard.size,
        timeout=PATIENCE,
        device_id=device if on_gpu else None,
    )
    group = TorchGroup(shard.size)
    group.sum(torch.ones(1, device=device))  # connects now, and takes its memory before pages are counted
    return OneShotGroup.build(group, device, dtype) if on_gpu else group


def leave_group(*, orderly: bool) -> None:
    """Call it when nothing holds the runner any more: NCCL waits for the end of graphs that were captured with it.

    Not `orderly`, a kernel may wait for a rank that is gone: then NCCL's group is left to the end of the process.
    """
    if dist.is_initialized() and (orderly or dist.get_backend() == "gloo"):
        gc.collect()
        dist.distributed_c10d._abort_process_group()


class TorchGroup:
    """Implements `Group` with the default process group."""

    def __init__(self, size: int) -> None:
        self.size = size

    def sum(self, x: Tensor) -> Tensor:
        dist.all_reduce(x)
        return x

    def gather(self, x: Tensor) -> Tensor:
        parts = x.new_empty((self.size * x.shape[0], x.shape[1]))
        if x.numel():  # a step of prompts that go on has no logits
            dist.all_gather_into_tensor(parts, x)
        return parts.view(self.size, *x.shape)


class OneShotGroup:
    """Implements `Group`: sums of at most `buffer`'s size by one kernel, all else by `otherwise`."""

    def __init__(self, otherwise: TorchGroup, buffer: Tensor, name: str) -> None:
        """`buffer` [N]: memory of the ranks of process group `name` that all have mapped."""
        self._otherwise, self._buffer, self._name = otherwise, buffer, name

    @classmethod
    def build(cls, otherwise: TorchGroup, device: torch.device, dtype: torch.dtype) -> Group:
        """`otherwise` itself on all ranks, and a line in the log, where GPUs cannot map each other's memory."""
        group, works = None, torch.ones(1, device=device)
        try:
            group = cls._build(otherwise, device, dtype)
        except Exception as error:
            log.warning("one-shot sums are off, NCCL does all: error=%s", error)
            works.zero_()
        if int(otherwise.sum(works)) < otherwise.size or group is None:
            log.info("one-shot sums are off: not every rank can do them")
            return otherwise
        log.info("one-shot sums are on: most_bytes=%d", group._buffer.nbytes)
        return group

    @classmethod
    def _build(cls, otherwise: TorchGroup, device: torch.device, dtype: torch.dtype) -> "OneShotGroup":
        import torch.distributed._symmetric_memory as symmetric_memory

        if dtype not in ONE_SHOT_DTYPES:
            raise ValueError(f"dtype is {dtype}; one-shot sums are of bfloat16 and float32")
        world = dist.group.WORLD
        assert world is not None
        size = ONE_SHOT_BYTES // otherwise.size // dtype.itemsize
        buffer = symmetric_memory.empty(size, dtype=dtype, device=device)
        symmetric_memory.rendezvous(buffer, world.group_name)
        return cls(otherwise, buffer, world.group_name)

    def sum(self, x: Tensor) -> Tensor:
        if x.numel() > self._buffer.numel() or x.dtype != self._buffer.dtype or x.nbytes % 16:
            return self._otherwise.sum(x)
        buffer = self._buffer[: x.numel()].view(x.shape)
        total: Tensor = torch.ops.symm_mem.one_shot_all_reduce_copy(buffer, x.contiguous(), "sum", self._name)
        return total

    def gather(self, x: Tensor) -> Tensor:
        return self._otherwise.gather(x)
