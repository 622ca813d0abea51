"""The shards of a model are the model: put together, their weights are the whole's."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pagoda_server.engine.config import EngineConfig
from pagoda_server.model.config import ModelConfig, UnsupportedModel, divide, read_model_config
from pagoda_server.model.llama import Layer, Llama
from pagoda_server.model.loader import BadCheckpoint, load_model
from pagoda_server.model.read_ahead import Piece
from pagoda_server.model.safetensors_header import StoredTensor
from pagoda_server.model.shard import Shard
from pagoda_server.model.slots import PartSlot, check, place
from tests.doubles.tiny_models import write_model

CPU = torch.device("cpu")
SIZES: dict[str, Any] = {
    "num_hidden_layers": 1,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "intermediate_size": 128,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("llama")
    write_model(path, attention_bias=True, mlp_bias=True, **SIZES)
    return path


def load(folder: Path, shard: Shard, *, fp8: bool = False) -> tuple[Llama, Layer]:
    model = load_model(folder, divide(read_model_config(folder), shard), CPU, torch.float32, fp8=fp8)
    layer = model.layers[0]
    assert isinstance(layer, Layer)
    return model, layer


def join_rows(parts: list[tuple[Tensor, list[int]]]) -> Tensor:
    """Merged projections: all ranks' first part, then all their second."""
    pieces = [torch.split(tensor.float(), sizes) for tensor, sizes in parts]
    return torch.cat([piece for group in zip(*pieces, strict=True) for piece in group])


@pytest.mark.parametrize("fp8", [False, True])
@pytest.mark.parametrize("size", [2, 4])
def test_shards_together_are_the_whole_bit_for_bit(folder: Path, size: int, fp8: bool) -> None:
    whole_model, whole = load(folder, Shard(), fp8=fp8)
    loaded = [load(folder, Shard(rank, size), fp8=fp8) for rank in range(size)]
    layers = [layer for _, layer in loaded]
    for kind in ("weight", "bias", *(["weight_scale"] if fp8 else [])):
        qkv = [(getattr(layer.qkv, kind), [layer.q_size, layer.kv_size, layer.kv_size]) for layer in layers]
        assert torch.equal(join_rows(qkv), getattr(whole.qkv, kind).float())
        gate_up = [(getattr(layer.gate_up, kind), [128 // size] * 2) for layer in layers]
        assert torch.equal(join_rows(gate_up), getattr(whole.gate_up, kind).float())
    for name in ("output", "down"):
        parts, one = [getattr(layer, name) for layer in layers], getattr(whole, name)
        assert torch.equal(torch.cat([part.weight.float() for part in parts], dim=1), one.weight.float())
        assert torch.equal(parts[0].bias, one.bias)
        assert all(part.bias is None for part in parts[1:]), "a bias is added once"
        if fp8:
            assert all(torch.equal(part.weight_scale, one.weight_scale) for part in parts)
    assert torch.equal(torch.cat([model.head for model, _ in loaded]), whole_model.head)


def build_stored(name: str, *shape: int) -> StoredTensor:
    return StoredTensor(name=name, dtype=torch.float32, shape=shape, path=Path("unread"), begin=0)


def test_a_stored_scale_is_that_of_the_rows_that_are_kept() -> None:
    kept = torch.zeros(4)
    slot, stored = PartSlot(kept, 0, 4, 8), build_stored("q_proj.weight_scale", 8, 1)
    check(stored, slot)
    place(Piece(stored, 0, 8), slot, torch.arange(1.0, 9.0)[:, None])
    assert kept.tolist() == [5, 6, 7, 8]
    one = build_stored("q_proj.weight_scale")
    check(one, slot)
    place(Piece(one, 0, 1), slot, torch.tensor(3.0))
    assert kept.tolist() == [3, 3, 3, 3]


def test_pieces_across_the_border_of_a_shard_give_it_its_rows() -> None:
    whole, kept = torch.arange(16.0).view(8, 2), torch.zeros(3, 2)
    slot, stored = PartSlot(kept, 0, 3, 9), build_stored("q_proj.weight", 8, 2)
    for first in (0, 2, 4, 6):
        piece = Piece(stored, first, first + 2)
        if len(slot.rows_of(piece)):
            place(piece, slot, whole[first : first + 2])
    assert torch.equal(kept, whole[3:6])


def test_a_tensor_of_the_shards_shape_is_not_the_checkpoints() -> None:
    with pytest.raises(BadCheckpoint, match=r"asks for \[4, 16\]"):
        check(build_stored("o_proj.weight", 4, 8), PartSlot(torch.zeros(4, 8), 1, 8, 16))


@pytest.mark.parametrize(("vocab_size", "size"), [(199, 4), (5, 4), (8, 2)])
def test_every_token_has_one_rank(vocab_size: int, size: int) -> None:
    rows = [Shard(rank, size).rows_of_head(vocab_size) for rank in range(size)]
    assert [token for span in rows for token in span] == list(range(vocab_size))
    assert max(map(len, rows)) == Shard(0, size).width_of_head(vocab_size)


@pytest.fixture
def config(folder: Path) -> ModelConfig:
    return read_model_config(folder)


@pytest.mark.parametrize(
    ("size", "changed", "message"),
    [
        (3, {}, "tensor_parallel is 3, which does not divide the model's num_attention_heads 8; give 1 or 2"),
        (8, {}, "num_key_value_heads 4; give 1 or 2 or 4"),
        (4, {"intermediate_size": 130}, "intermediate_size 130; give 1 or 2"),
    ],
)
def test_what_cannot_be_divided_is_refused_with_the_fix(
    config: ModelConfig, size: int, changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(UnsupportedModel, match=message):
        divide(replace(config, **changed), Shard(0, size))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tensor_parallel": 0}, "tensor_parallel is 0; give at least 1"),
        ({"tensor_parallel": 2, "deterministic": True}, "deterministic is on and tensor_parallel is 2"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EngineConfig(model=Path("m"), socket=Path("s"), **fields)


def test_a_bias_that_no_config_asks_for_stays_unexpected_on_every_rank(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    raw = json.loads((folder / "config.json").read_text()) | {"mlp_bias": False}
    (tmp_path / "config.json").write_text(json.dumps(raw))
    with pytest.raises(BadCheckpoint, match=r"unexpected .*down_proj\.bias"):
        load(tmp_path, Shard(1, 2))
