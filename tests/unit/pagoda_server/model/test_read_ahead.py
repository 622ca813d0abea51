"""Pieces are whole rows in order, and reading stops by name where the file does."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pagoda_server.model.read_ahead import cut, read_ahead
from pagoda_server.model.safetensors_header import BadCheckpoint, StoredTensor, read_header

CPU = torch.device("cpu")


def store(*shape: int) -> StoredTensor:
    return StoredTensor("t", Path("file"), torch.float32, shape, 100)


@pytest.mark.parametrize(
    ("shape", "rows"),
    [((10, 4), [(0, 4), (4, 8), (8, 10)]), ((3, 100), [(0, 1), (1, 2), (2, 3)]), ((5,), [(0, 5)]), ((), [(0, 1)])],
)
def test_a_tensor_is_cut_into_whole_rows(shape: tuple[int, ...], rows: list[tuple[int, int]]) -> None:
    pieces = cut(store(*shape), piece_bytes=64)
    assert [(piece.first, piece.last) for piece in pieces] == rows
    assert [piece.begin for piece in pieces] == [
        100 + first * 4 * (shape[1] if len(shape) > 1 else 1) for first, _ in rows
    ]
    assert sum(piece.num_bytes for piece in pieces) == store(*shape).num_bytes


def test_pieces_come_in_order_through_fewer_buffers_than_there_are_pieces(tmp_path: Path) -> None:
    wanted = torch.arange(4000.0).view(1000, 4)
    save_file({"t": wanted}, tmp_path / "m.safetensors")
    (tensor,) = read_header(tmp_path / "m.safetensors")
    parts = [values.clone() for _, values in read_ahead(cut(tensor, piece_bytes=160), CPU, ring=3)]
    assert len(parts) == 100 and torch.equal(torch.cat(parts), wanted)


def test_a_file_that_shrinks_while_it_is_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_file({"t": torch.zeros(100)}, path)
    pieces = cut(read_header(path)[0])
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(BadCheckpoint, match=f"{path} ends at byte"):
        list(read_ahead(pieces, CPU))
