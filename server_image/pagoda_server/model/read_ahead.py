"""Tensors from files in pieces, read by several threads ahead of whoever takes them.

One reading thread, be it through mmap, moves a few GB per second from the page cache; a disk or network volume also
needs several requests under way. Pieces land in a ring of buffers that are pinned for a GPU: from there the copy to the
device runs beside the reading, and nothing but the ring takes memory beside the weights.
"""

import math
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from pagoda_server.model.safetensors_header import BadCheckpoint, StoredTensor

PIECE_BYTES = 8 << 20
READERS = 8
RING = 12
"""Buffers: one for each reader, and some that wait for the device. 96 MiB in all, where no row is longer."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Some rows (along the first dimension) of a tensor, or all of it."""

    tensor: StoredTensor
    first: int
    last: int

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.last - self.first, *self.tensor.shape[1:]) if self.tensor.shape else ()

    @property
    def num_bytes(self) -> int:
        return math.prod(self.shape) * self.tensor.dtype.itemsize

    @property
    def begin(self) -> int:
        """Returns its first byte in the file."""
        return self.tensor.begin + self.first * math.prod(self.tensor.shape[1:]) * self.tensor.dtype.itemsize


def cut(tensor: StoredTensor, piece_bytes: int = PIECE_BYTES) -> list[Piece]:
    """Cuts a tensor into pieces of whole rows, as many as fit into `piece_bytes`, at least one."""
    rows = tensor.shape[0] if tensor.shape else 1
    each = max(1, piece_bytes * rows // max(1, tensor.num_bytes))
    return [Piece(tensor, first, min(first + each, rows)) for first in range(0, rows, each)]


class Buffer:
    """Bytes on the host that a piece is read into, and the device's last copy out of them."""

    def __init__(self, num_bytes: int, device: torch.device) -> None:
        on_gpu = device.type == "cuda"
        self._bytes = torch.empty(num_bytes, dtype=torch.uint8, pin_memory=on_gpu)
        self._copied = torch.cuda.Event() if on_gpu else None  # type: ignore[no-untyped-call]

    def read(self, piece: Piece) -> Tensor:
        """Reads the piece, valid until the next read. Raises `BadCheckpoint` when the file ends before it does."""
        self.wait()
        read_range(piece.tensor.path, piece.begin, self._bytes.numpy().data[: piece.num_bytes])
        return self._bytes[: piece.num_bytes].view(piece.tensor.dtype).view(piece.shape)

    def mark_copied(self) -> None:
        """Notes that copies out of it are queued: what reads into it waits for them."""
        if self._copied is not None:
            self._copied.record()

    def wait(self) -> None:
        if self._copied is not None:
            self._copied.synchronize()


def read_range(path: Path, begin: int, into: memoryview) -> None:
    with path.open("rb", buffering=0) as file:
        while into:
            count = os.preadv(file.fileno(), [into], begin)
            if count == 0:
                raise BadCheckpoint(f"{path} ends at byte {begin}, before its tensors do; fetch the model again")
            into, begin = into[count:], begin + count


def read_ahead(pieces: Sequence[Piece], device: torch.device, *, ring: int = RING) -> Iterator[tuple[Piece, Tensor]]:
    """Yields each piece in turn with its values on the host, which are gone when the next is asked for.

    Copies to `device` may be asynchronous, on the current stream. At the end all of them are over.
    """
    size = max((piece.num_bytes for piece in pieces), default=0)
    buffers = [Buffer(size, device) for _ in range(min(ring, len(pieces)))]
    with _readers() as pool:
        to_read = iter(pieces)
        reading: deque[tuple[Piece, Buffer, Future[Tensor]]] = deque(
            (piece, buffer, pool.submit(buffer.read, piece))
            for buffer, piece in zip(buffers, islice(to_read, len(buffers)), strict=True)
        )
        while reading:
            piece, buffer, values = reading.popleft()
            yield piece, values.result()
            buffer.mark_copied()
            for following in islice(to_read, 1):
                reading.append((following, buffer, pool.submit(buffer.read, following)))
        for buffer in buffers:
            buffer.wait()


@contextmanager
def _readers() -> Iterator[ThreadPoolExecutor]:
    """Ends without what was not begun: who gives up does not wait for gigabytes."""
    pool = ThreadPoolExecutor(READERS, thread_name_prefix="weights")
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
