"""Where the tensors of a checkpoint go: views of the parameters, whole or a shard's part, as stored or quantized."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from pagoda_server.kernels.e4m3 import E4M3
from pagoda_server.model.read_ahead import Piece
from pagoda_server.model.safetensors_header import BadCheckpoint, StoredTensor
from pagoda_server.quant.fp8 import quantize_rows

BLOCK_ROWS = 512
WIDE = (torch.bfloat16, torch.float16, torch.float32, torch.float64)


class Fp8Slot(NamedTuple):
    """Where a weight is kept in fp8 that the checkpoint does not store so."""

    values: Tensor
    scales: Tensor
    """[rows]"""


class PartSlot(NamedTuple):
    """Where a shard keeps its rows (dimension 0) or columns (1) of a tensor."""

    slot: Tensor | Fp8Slot
    dimension: int
    start: int
    whole: int
    """Rows or columns of the tensor in the checkpoint."""

    @property
    def span(self) -> slice:
        kept = self.slot.values if isinstance(self.slot, Fp8Slot) else self.slot
        return slice(self.start, self.start + kept.shape[self.dimension])

    def rows_of(self, piece: Piece) -> range:
        """Returns the rows of the tensor that are in the piece and kept."""
        if self.dimension == 1:
            return range(piece.first, piece.last)
        return range(max(piece.first, self.span.start), min(piece.last, self.span.stop))


Slot = Tensor | Fp8Slot | PartSlot


def is_kept(piece: Piece, slot: Slot) -> bool:
    """Returns whether any of the piece belongs into the slot."""
    return not isinstance(slot, PartSlot) or _is_scale(piece.tensor) or len(slot.rows_of(piece)) > 0


def check(tensor: StoredTensor, slot: Slot) -> None:
    """Raises `BadCheckpoint` unless the file's tensor can fill the slot, by its shape and type."""
    part, slot = (slot, slot.slot) if isinstance(slot, PartSlot) else (None, slot)
    if isinstance(slot, Tensor) and _is_scale(tensor):
        count = slot.numel() if part is None else part.whole
        if math.prod(tensor.shape) not in (1, count):
            raise BadCheckpoint(
                f"tensor {tensor.name} has shape {list(tensor.shape)}; supported are one value or {count}"
            )
        return
    expected = list(slot.values.shape if isinstance(slot, Fp8Slot) else slot.shape)
    if part is not None:
        expected[part.dimension] = part.whole
    if expected != list(tensor.shape):
        raise BadCheckpoint(f"tensor {tensor.name} has shape {list(tensor.shape)}; config.json asks for {expected}")
    accepted = (E4M3,) if isinstance(slot, Tensor) and slot.dtype == E4M3 else WIDE
    if tensor.dtype not in accepted:
        names = " or ".join(str(dtype).removeprefix("torch.") for dtype in accepted)
        raise BadCheckpoint(
            f"tensor {tensor.name} is {tensor.dtype}; by config.json it is {names}: fetch the model again"
        )


def place(piece: Piece, slot: Slot, values: Tensor) -> None:
    """Puts some rows of values into the model, on the device's current stream: it is their only way in.

    Widths change, and what the model keeps in fp8 and the file does not is quantized, on the device.
    """
    if _is_scale(piece.tensor):
        _place_scale(piece.tensor.name, slot, values)
    elif isinstance(slot, PartSlot):
        kept, columns = slot.rows_of(piece), slot.span if slot.dimension == 1 else slice(None)
        start = slot.start if slot.dimension == 0 else 0
        rows = slice(kept.start - start, kept.stop - start)
        _place_rows(slot.slot, rows, values[kept.start - piece.first : kept.stop - piece.first], columns)
    else:
        _place_rows(slot, slice(piece.first, piece.last), values)


def _is_scale(tensor: StoredTensor) -> bool:
    return tensor.name.endswith("_scale")


def _place_rows(slot: Tensor | Fp8Slot, rows: slice, values: Tensor, columns: slice = slice(None)) -> None:
    """Puts values into these rows of the slot; of their columns only these, which are cut on the device."""
    if isinstance(slot, Fp8Slot):
        _place_quantized(Fp8Slot(*(part[rows] for part in slot)), values, columns)
        return
    moved = values.to(slot.device, non_blocking=True)
    (slot[rows] if slot.dim() else slot).copy_(moved[:, columns] if moved.dim() > 1 else moved)


def _place_quantized(slot: Fp8Slot, tensor: Tensor, columns: slice) -> None:
    """Quantizes by blocks of rows, so that what is wide for a moment takes memory from no KV page.

    The scale is a whole row's, also where a shard keeps some of its columns.
    """
    blocks = (torch.split(part, BLOCK_ROWS) for part in (slot.values, slot.scales, tensor))
    for values, scales, wide in zip(*blocks, strict=True):
        quantized, block_scales = quantize_rows(wide.to(values.device, non_blocking=True))
        values.copy_(quantized[:, columns])
        scales.copy_(block_scales[:, 0])


def _place_scale(name: str, slot: Slot, tensor: Tensor) -> None:
    """Puts one scale for all rows, or one per row."""
    wide = tensor.float().flatten()
    if not bool(((wide > 0) & wide.isfinite()).all()):
        raise BadCheckpoint(f"tensor {name} holds {wide.min().item()} to {wide.max().item()}; scales are above 0")
    part, slot = (slot, slot.slot) if isinstance(slot, PartSlot) else (None, slot)
    assert isinstance(slot, Tensor)
    kept = wide if part is None else wide.expand(part.whole)[part.span]
    slot.copy_(kept.expand(slot.numel()).view(slot.shape))
