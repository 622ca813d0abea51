"""A header is believed only where it agrees with itself and with the file; else the file and the tensor are named."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from pagoda_server.model.safetensors_header import BadCheckpoint, StoredTensor, read_header

A = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
B = {"dtype": "BF16", "shape": [2, 2], "data_offsets": [8, 16]}


def write(path: Path, header: Any, data: bytes = bytes(16)) -> Path:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(raw).to_bytes(8, "little") + raw + data)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


def test_tensors_come_in_the_order_of_their_bytes(path: Path) -> None:
    write(path, {"__metadata__": {"format": "pt"}, "b": B, "a": A})
    begin = path.stat().st_size - 16
    assert read_header(path) == [
        StoredTensor("a", path, torch.float32, (2,), begin),
        StoredTensor("b", path, torch.bfloat16, (2, 2), begin + 8),
    ]


def test_an_empty_tensor_begins_where_the_next_one_does(path: Path) -> None:
    write(path, {"a": A, "b": B, "empty": {"dtype": "F32", "shape": [0, 3], "data_offsets": [8, 8]}})
    assert [tensor.name for tensor in read_header(path)] == ["a", "empty", "b"]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"{", "not JSON"),
        (b"[]", "not an object"),
        (b"[" * 100_000, "not JSON"),
        (b'{"a": {}, "a": {}}', "twice"),
        ({"a": A, "b": B | {"shape": [2, 3]}}, r"tensor b is BF16 of shape \[2, 3\], 12 bytes, but has 8"),
        ({"a": A, "b": B | {"dtype": "F64"}}, "tensor b is F64 .*, 32 bytes"),
        ({"a": A, "b": B | {"dtype": "F4"}}, "tensor b is 'F4'; supported are BOOL"),
        ({"a": A, "b": B | {"dtype": ["F32"]}}, "tensor b is"),
        ({"a": A, "b": B | {"shape": [-2, -2]}}, "tensor b has shape .* not all are sizes"),
        ({"a": A, "b": B | {"shape": [2.0, 2]}}, "tensor b has shape"),
        ({"a": A, "b": B | {"data_offsets": [8]}}, "tensor b lacks"),
        ({"a": A, "b": B | {"data_offsets": [16, 8]}}, "tensor b .* but has -8"),
        ({"a": A, "b": 7}, "tensor b lacks"),
        ({"a": A, "b": B | {"data_offsets": [4, 12]}}, "tensor b begins at byte"),
        ({"a": A, "b": B | {"data_offsets": [12, 20]}}, "tensor b begins at byte"),
        ({"a": A, "b": B | {"shape": [4, 2], "data_offsets": [8, 24]}}, "by its header .* it is cut"),
        ({"a": A}, "it is longer"),
        ({"a": A | {"shape": [1] * 9}}, "not all are sizes"),
        ({"a": A | {"shape": [10**18] * 50_000}}, "tensor a has shape"),
        ({"a" * 1000: 7}, "tensor a{120}… lacks"),
        (b'{"a": {"dtype": "F32", "shape": [1e999], "data_offsets": [0, 8]}}', "not all are sizes"),
        (b'{"a": {"dtype": "F32", "shape": [' + b"9" * 9000 + b'], "data_offsets": [0, 8]}}', "not JSON"),
        (rb'{"a\ud800": 7}', r"tensor a\\ud800 lacks"),
    ],
)
def test_a_header_that_lies_is_refused_by_name(header: Any, message: str, path: Path) -> None:
    with pytest.raises(BadCheckpoint, match=message) as refusal:
        read_header(write(path, header))
    assert str(path) in str(refusal.value) and len(str(refusal.value)) < 1000


@pytest.mark.parametrize("size", [0, 7, 8, 20, 100])
def test_a_cut_file_is_refused_by_name(size: int, path: Path) -> None:
    save_file({"a": torch.arange(8.0), "b": torch.ones(2)}, path)
    whole = path.read_bytes()
    for raw in (whole[:size], whole[:-1]):
        path.write_bytes(raw)
        with pytest.raises(BadCheckpoint, match=str(path)):
            read_header(path)


def test_a_header_larger_than_memory_is_not_read(path: Path) -> None:
    path.write_bytes((1 << 62).to_bytes(8, "little") + bytes(100))
    with pytest.raises(BadCheckpoint, match="too few for its header"):
        read_header(path)


def test_a_header_of_99_megabytes_is_refused_before_it_is_parsed(path: Path) -> None:
    with path.open("wb") as file:
        file.write((99_000_000).to_bytes(8, "little") + b'{"a": [')
        file.truncate(100_000_000)
    with pytest.raises(BadCheckpoint, match="has a header of 99000000 bytes; at most 16777216 are read"):
        read_header(path)
