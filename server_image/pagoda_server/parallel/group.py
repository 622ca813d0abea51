"""The ranks of one model as `model.shard.Group`: torch.distributed (NCCL on GPUs, gloo on CPU), and one-shot sums.

A decode step of a divided model sums twice per layer, a few hundred KiB each time, and NCCL's latency would be most of
it. One-shot: every rank writes its share into memory that the others see, and `kernels.sum_norm` reads them all. All
can be captured in a CUDA graph. NVLink multicast is never used: not every machine with NVLink lets a process have it.
"""

import gc
import logging
import os
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import Tensor

from pagoda_server.model.shard import ALONE, Group, Shard

if TYPE_CHECKING:
    from pagoda_server.kernels.sum_norm import Exchange, Shares  # Triton compiles for a GPU, or is absent

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


def join_group(shard: Shard, device: torch.device, store: Path) -> Group:
    """Joins the ranks: each calls it once, with its own `device` and a `store` file that none had used.

    It may be called once per process: memory that ranks share is known by a name, which a second group would have too.

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
    return OneShotGroup.build(group, shard.rank, device) if on_gpu else group


def leave_group(*, orderly: bool) -> None:
    """Leaves the ranks. Nothing may hold the runner any more: NCCL waits for the end of graphs captured with it.

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

    def shares(self, like: Tensor, index: int) -> "Shares | None":
        return None

    def gather(self, x: Tensor) -> Tensor:
        parts = x.new_empty((self.size * x.shape[0], x.shape[1]))
        if x.numel():  # a step of prompts that go on has no logits
            dist.all_gather_into_tensor(parts, x)
        return parts.view(self.size, *x.shape)


class OneShotGroup(TorchGroup):
    """And small sums that a norm follows by one kernel."""

    def __init__(self, size: int, exchange: "Exchange") -> None:
        super().__init__(size)
        self._exchange = exchange

    @classmethod
    def build(cls, otherwise: TorchGroup, rank: int, device: torch.device) -> Group:
        """Builds it; returns `otherwise` on all ranks, and logs it, where GPUs cannot map each other's memory."""
        group, works = None, torch.ones(1, device=device)
        try:
            group = cls(otherwise.size, build_exchange(otherwise.size, rank, device))
        except Exception as error:
            log.warning("one-shot sums are off, NCCL does all error=%s", error)
            works.zero_()
        # NB: after it, every rank's signals are zero
        if int(otherwise.sum(works)) < otherwise.size or group is None:
            log.info("one-shot sums are off, not every rank can do them")
            return otherwise
        log.info("one-shot sums are on max_bytes=%d", ONE_SHOT_BYTES // otherwise.size)
        return group

    def shares(self, like: Tensor, index: int) -> "Shares | None":
        return self._exchange.shares(like, index)


def build_exchange(size: int, rank: int, device: torch.device) -> "Exchange":
    import torch.distributed._symmetric_memory as symmetric_memory

    from pagoda_server.kernels.sum_norm import Exchange, count_bytes

    world = dist.group.WORLD
    assert world is not None
    memory = symmetric_memory.empty(count_bytes(size, ONE_SHOT_BYTES // size), dtype=torch.uint8, device=device)
    mapped = symmetric_memory.rendezvous(memory, world.group_name).buffer_ptrs
    # torch allocates it within a larger block, on all ranks at the same place
    inside = memory.data_ptr() - mapped[rank]
    memory.zero_()
    return Exchange(memory, [address + inside for address in mapped], rank)
