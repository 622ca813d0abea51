"""Decode captured as CUDA graphs, one for each batch size of a ladder; a batch runs in the next larger one.

They share one pool of memory and are captured from the largest down, so that the smaller fit into what is there.
"""

import contextlib
import gc
from collections.abc import Callable, Iterator, Sequence

import torch

WARM_UPS = 2
"""Runs before a capture: the first compiles kernels and lets cuBLAS choose, which a capture must not see."""


def choose_buckets(max_batch: int) -> list[int]:
    """1, 2, 4, 8, then steps of 8 to 64, of 16 to 256, of 64 beyond; the last is `max_batch`."""
    ladder = [1, 2, 4, *range(8, 64, 8), *range(64, 256, 16), *range(256, max_batch, 64)]
    return [size for size in ladder if size < max_batch] + [max_batch]


class Graphs:
    def __init__(self, run: Callable[[int], None], buckets: Sequence[int], *, enabled: bool) -> None:
        """`run(bucket)` is captured; without `enabled` it is called instead."""
        self._run = run
        self._buckets = sorted(buckets)
        self._graphs: dict[int, torch.cuda.CUDAGraph] = {}
        if enabled:
            self._capture_all()

    def bucket_for(self, batch: int) -> int:
        """0 for an empty batch."""
        return next(size for size in (0, *self._buckets) if size >= batch)

    def run(self, bucket: int) -> None:
        if bucket in self._graphs:
            self._graphs[bucket].replay()
        else:
            self._run(bucket)

    def _capture_all(self) -> None:
        pool = torch.cuda.graph_pool_handle()
        for bucket in reversed(self._buckets):
            for _ in range(WARM_UPS):
                self._run(bucket)
            torch.cuda.synchronize()
            with no_collection():
                graph = self._graphs[bucket] = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph, pool=pool):
                    self._run(bucket)


@contextlib.contextmanager
def no_collection() -> Iterator[None]:
    """A graph that the garbage collector frees in the middle of a capture would spoil it."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
