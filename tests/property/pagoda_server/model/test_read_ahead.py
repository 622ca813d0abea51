"""Any safetensors file is read as the library reads it."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from pagoda_server.model.read_ahead import cut, read_ahead
from pagoda_server.model.safetensors_header import DTYPES, read_header

SHAPES = st.lists(st.integers(0, 7), max_size=3)
TENSORS = st.dictionaries(st.text(min_size=1, max_size=9), st.tuples(SHAPES, st.sampled_from([*DTYPES.values()])))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("weights") / "model.safetensors"


def draw_bytes(shape: list[int], dtype: torch.dtype, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    count = torch.Size(shape).numel() * dtype.itemsize
    raw = torch.randint(0, 2 if dtype is torch.bool else 256, (count,), dtype=torch.uint8, generator=generator)
    return raw.view(dtype).view(shape)


@given(tensors=TENSORS, piece_bytes=st.integers(1, 200), ring=st.integers(1, 4), metadata=st.booleans())
def test_pieces_make_up_what_the_library_reads(
    path: Path, tensors: dict[str, tuple[list[int], torch.dtype]], piece_bytes: int, ring: int, metadata: bool
) -> None:
    tensors.pop("__metadata__", None)
    drawn = {name: draw_bytes(*one, seed) for seed, (name, one) in enumerate(tensors.items())}
    save_file(drawn, path, metadata={"format": "pt"} if metadata else None)
    stored = read_header(path)
    found = {tensor.name: torch.empty(tensor.shape, dtype=tensor.dtype) for tensor in stored}
    pieces = [piece for tensor in stored for piece in cut(tensor, piece_bytes)]
    for piece, values in read_ahead(pieces, torch.device("cpu"), ring=ring):
        rows = found[piece.tensor.name]
        (rows[piece.first : piece.last] if rows.dim() else rows).copy_(values)
    expected = load_file(path)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert tensor.dtype == found[name].dtype and tensor.shape == found[name].shape
        assert tensor.contiguous().view(-1).view(torch.uint8).equal(found[name].view(-1).view(torch.uint8))
