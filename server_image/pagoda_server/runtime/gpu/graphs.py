"""Steps captured as CUDA graphs, one for each size of a ladder; a batch runs in the next larger captured one.

They share one pool of memory and are captured from the largest down, so that the smaller fit into what is there. A
server answers as soon as it has a coarse ladder; the rungs between are captured when the device has a moment, those
that batches ask for first.
"""

import contextlib
import gc
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

WARM_UPS = 2
"""Runs before a capture: the first compiles kernels and lets cuBLAS choose, which a capture must not see."""
Capture = Callable[[Callable[[], None]], Callable[[], None]]
"""Records what a function launches; what it returns launches the same again."""


def choose_buckets(max_batch: int) -> list[int]:
    """Returns 1, 2, 4, 8, then steps of 8 to 64, of 16 to 256, of 64 beyond; the last is `max_batch`."""
    ladder = [1, 2, 4, *range(8, 64, 8), *range(64, 256, 16), *range(256, max_batch, 64)]
    return [size for size in ladder if size < max_batch] + [max_batch]


def choose_first(buckets: Sequence[int]) -> list[int]:
    """Returns the powers of 4 and the largest: decode waits for memory, so four times the rows cost little more."""
    return [size for size in buckets if size == max(buckets) or (size.bit_count() == 1 and size.bit_length() % 2)]


class Graphs:
    def __init__(
        self,
        run: Callable[[int], None],
        buckets: Sequence[int],
        capture: Capture | None,
        *,
        first: Sequence[int],
        clear: Callable[[int], object],
        stretch: float = math.inf,
        max_captured: int | None = None,
    ) -> None:
        """Takes `run(bucket)`, which is captured after `clear(bucket)` has made its inputs those of nobody.

        Without `capture` it is called instead, always. `first` is captured at start. A batch runs in a graph of at most
        `stretch` times its own bucket. Buckets above `max_captured` are never captured.
        """
        self._run, self._clear = run, clear
        self._buckets = sorted(buckets)
        self._capture = capture
        self._stretch = stretch
        self._first = len(first) if capture else 0
        small = [bucket for bucket in self._buckets if max_captured is None or bucket <= max_captured]
        rest = [bucket for bucket in small if bucket not in first]
        self._waiting = [*rest, *sorted(first)] if capture else []
        """The next to capture is the last."""
        self._asked: Counter[int] = Counter()
        """How many batches would have run in a bucket that is not captured."""
        self._replays: dict[int, Callable[[], None]] = {}

    @property
    def is_complete(self) -> bool:
        """Returns whether none is left to capture."""
        return not self._waiting

    @property
    def max_asked(self) -> int:
        """Returns how many batches asked for the next one to be captured."""
        return max((self._asked[bucket] for bucket in self._waiting), default=0)

    def bucket_for(self, batch: int) -> int:
        """Returns the next larger captured bucket; the next larger of all if none is near. 0 for an empty batch."""
        own = next(size for size in (0, *self._buckets) if size >= batch)
        if own and own not in self._replays:
            self._asked[own] += 1
        captured = [size for size in self._replays if own <= size <= own * self._stretch]
        return min(captured, default=own) if batch else 0

    def run(self, bucket: int) -> None:
        replay = self._replays.get(bucket)
        if replay is None:
            self._run(bucket)
        else:
            replay()

    def capture_first(self) -> None:
        for _ in range(self._first):
            self.capture_next()

    def capture_next(self) -> None:
        """Captures the bucket that most batches asked for, if there is `capture`; a failed one is not tried again.

        Nothing may be in flight on the device.
        """
        if self._capture is None or not self._waiting:
            return
        bucket = max(reversed(self._waiting), key=lambda waiting: self._asked[waiting])
        self._waiting.remove(bucket)
        self._clear(bucket)
        for _ in range(WARM_UPS):
            self._run(bucket)
        self._replays[bucket] = self._capture(lambda: self._run(bucket))


@dataclass(frozen=True, slots=True)
class StepGraphs:
    """Those of steps that only decode, by how many rows do, and of steps with prompts, by how many tokens they have.

    And those of the choice that some rows of a step make again, by how many they are: captured when it is asked for.
    """

    decode: Graphs
    mixed: Graphs
    again: Graphs

    def capture_first(self) -> None:
        self.mixed.capture_first()
        self.decode.capture_first()

    def capture_next(self, *, idle: bool) -> bool:
        """Captures the one that most batches asked for; not `idle`, only if one did. False when none is left."""
        kinds = (self.decode, self.mixed, self.again)
        graphs = max(kinds, key=lambda graphs: (graphs.max_asked, not graphs.is_complete))
        if idle or graphs.max_asked:
            graphs.capture_next()
        return not all(graphs.is_complete for graphs in kinds)


class CudaCapture:
    """Graphs in one pool of memory: it may serve all of them, since only one runs at a time."""

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, run: Callable[[], None]) -> Callable[[], None]:
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        # NB: torch leaves its own stream the current one when a capture fails
        restored = torch.cuda.stream(torch.cuda.current_stream())
        with no_collection(), restored, torch.cuda.graph(graph, pool=self._pool):
            run()
        return graph.replay


@contextlib.contextmanager
def no_collection() -> Iterator[None]:
    """Holds the garbage collector back: a graph that it frees in the middle of a capture would spoil it."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
