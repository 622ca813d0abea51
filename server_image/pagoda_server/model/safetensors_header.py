"""Where each tensor of a safetensors file lies, so that bytes can be read by many threads at once.

The header is the only part of a model that is parsed, and it comes from outside: it is believed only where it agrees
with the file's size and with itself (https://github.com/huggingface/safetensors#format).
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch

from pagoda_guard.showing import shorten, show
from pagoda_server.model.files import UnsupportedModel

PREFIX_BYTES = 8
MAX_HEADER_BYTES = 16 * 1024 * 1024
"""One file's: some 100,000 tensors. The library reads six times as much, which takes gigabytes once it is parsed."""
MAX_DIMENSIONS = 8
MAX_ELEMENTS = 2**53
DTYPES = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "I16": torch.int16,
    "I32": torch.int32,
    "I64": torch.int64,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
}


class BadCheckpoint(UnsupportedModel):
    """The weights do not fit the config; the message names tensors or files."""


@dataclass(frozen=True, slots=True)
class StoredTensor:
    name: str
    path: Path
    dtype: torch.dtype
    shape: tuple[int, ...]
    begin: int
    """Its first byte, counted from the file's."""

    @property
    def num_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def read_header(path: Path) -> list[StoredTensor]:
    """Reads the tensors in the order of their bytes, which cover the file without gap or overlap.

    Raises `BadCheckpoint` that names the file, and the tensor where there is one.
    """
    try:
        with path.open("rb") as file:
            raw, data_begin = _read_json(path, file)
    except OSError as error:
        raise BadCheckpoint(f"{path} cannot be read: {error.strerror}; fetch the model again") from error
    parsed = (_parse_tensor(path, *item, data_begin) for item in raw)
    tensors = sorted(parsed, key=lambda tensor: (tensor.begin, tensor.num_bytes))  # NB: empty ones share a beginning
    _check_cover(path, tensors, data_begin)
    return tensors


def _read_json(path: Path, file: BinaryIO) -> tuple[list[tuple[str, Any]], int]:
    """Returns what the header says of each tensor, and where the data begin."""
    size = path.stat().st_size
    header_bytes = int.from_bytes(file.read(PREFIX_BYTES), "little")
    if size < PREFIX_BYTES or header_bytes > size - PREFIX_BYTES:
        raise BadCheckpoint(
            f"{path} has {size} bytes, too few for its header of {header_bytes}; it is cut or no safetensors: "
            "fetch the model again"
        )
    if header_bytes > MAX_HEADER_BYTES:
        raise BadCheckpoint(
            f"{path} has a header of {header_bytes} bytes; at most {MAX_HEADER_BYTES} are read: "
            "store the model in several files"
        )
    try:
        items = json.loads(file.read(header_bytes), object_pairs_hook=_refuse_repeated)
        if not isinstance(items, dict):
            raise ValueError("it is not an object")
    except (ValueError, RecursionError) as error:
        raise BadCheckpoint(f"{path} has a header that is not JSON of tensors: {error}") from error
    return [item for item in items.items() if item[0] != "__metadata__"], PREFIX_BYTES + header_bytes


def _refuse_repeated(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is there twice")
    return found


def _parse_tensor(path: Path, name: str, raw: Any, data_begin: int) -> StoredTensor:
    where = f"{path}: tensor {shorten(name)}"
    try:
        code, shape, (begin, end) = raw["dtype"], raw["shape"], raw["data_offsets"]
        numbers = [*shape, begin, end]
    except (TypeError, KeyError, ValueError) as error:
        raise BadCheckpoint(f"{where} lacks dtype, shape or two data_offsets; it has {show(raw)}") from error
    if len(numbers) > MAX_DIMENSIONS + 2 or not all(_is_size(number) for number in numbers):
        raise BadCheckpoint(f"{where} has shape {show(shape)} and data_offsets {show([begin, end])}; not all are sizes")
    if not isinstance(code, str) or code not in DTYPES:
        raise BadCheckpoint(f"{where} is {show(code)}; supported are {', '.join(DTYPES)}")
    tensor = StoredTensor(name, path, DTYPES[code], tuple(shape), data_begin + begin)
    if end - begin != tensor.num_bytes:
        raise BadCheckpoint(f"{where} is {code} of shape {shape}, {tensor.num_bytes} bytes, but has {end - begin}")
    return tensor


def _is_size(number: object) -> bool:
    return type(number) is int and 0 <= number <= MAX_ELEMENTS


def _check_cover(path: Path, tensors: Sequence[StoredTensor], data_begin: int) -> None:
    place = data_begin
    for tensor in tensors:
        if tensor.begin != place:
            raise BadCheckpoint(f"{path}: tensor {shorten(tensor.name)} begins at byte {tensor.begin}, not at {place}")
        place += tensor.num_bytes
    size = path.stat().st_size
    if size != place:
        raise BadCheckpoint(
            f"{path} has {size} bytes, by its header {place}; it is {'cut' if size < place else 'longer'}: "
            "fetch the model again"
        )
