"""Weights from safetensors into the decoder. Never pickle, never code; every tensor is accounted for by name.

What the headers say is checked against the config before memory is taken or a weight is read.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import torch
from torch import Tensor, nn

from pagoda_guard.showing import list_names, shorten
from pagoda_server.model.config import ModelConfig
from pagoda_server.model.files import has_file, read_json
from pagoda_server.model.llama import Layer, Llama
from pagoda_server.model.read_ahead import cut, read_ahead
from pagoda_server.model.safetensors_header import BadCheckpoint, StoredTensor, read_header
from pagoda_server.model.shard import ALONE, Group, Shard
from pagoda_server.model.slots import Fp8Slot, PartSlot, Slot, check, is_kept, place
from pagoda_server.quant.fp8 import Fp8Linear, replace_linears

log = logging.getLogger(__name__)
__all__ = ["BadCheckpoint", "load_model"]
MAX_INDEX_BYTES = 16 * 1024 * 1024
"""A model of 100,000 tensors has 10 MB."""


def load_model(
    folder: Path,
    config: ModelConfig,
    device: torch.device,
    dtype: torch.dtype,
    *,
    fp8: bool = False,
    group: Group = ALONE,
) -> Llama:
    """Loads the decoder in eval form to `device`; with `fp8` its projections become fp8 as they are read, one by one.

    It is of `config.shard` alone: `group` is the ranks that hold the others. In fp8 its values and scales are those of
    the whole model, as a row has one scale on all ranks.

    Raises `BadCheckpoint`, or ValueError for shapes that fp8 cannot have.
    """
    with torch.device("meta"):
        model = Llama(config, group).to(dtype)
        if fp8 or config.quantization is not None:
            replace_linears(model)
    kv_scales = torch.ones((config.num_layers, 2))
    kv_slots = _build_kv_scale_slots(config, kv_scales)
    wanted = find_tensors(folder, config, build_tensor_slots(model) | kv_slots)
    allocate(model, device)
    model.eval()
    _read_weights(wanted, build_tensor_slots(model) | kv_slots, device)
    for layer, (k_scale, v_scale) in zip(model.layers, kv_scales.tolist(), strict=True):
        assert isinstance(layer, Layer)
        layer.kv_scales = (k_scale, v_scale)
    return model


def allocate(model: nn.Module, device: torch.device) -> None:
    """Gives parameters on the meta device memory on `device`, without values.

    NB: as `nn.Module.to_empty` would, but that loads sympy, which takes a second or two of each start.
    """
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            memory = torch.empty(parameter.shape, dtype=parameter.dtype, device=device)
            setattr(module, name, nn.Parameter(memory, requires_grad=False))


class IndexFile(msgspec.Struct, frozen=True):
    weight_map: dict[str, str]
    """Each tensor's file."""


def find_tensors(folder: Path, config: ModelConfig, slots: Mapping[str, Slot]) -> list[StoredTensor]:
    """Finds one per slot. Raises `BadCheckpoint` for those missing, unexpected, there twice or of another shape."""
    stored = [tensor for path in find_weight_files(folder) for tensor in read_header(path)]
    _check_unique(stored)
    wanted = [tensor for tensor in stored if tensor.name in slots]
    for tensor in wanted:
        check(tensor, slots[tensor.name])
    unexpected = {
        tensor.name for tensor in stored if tensor.name not in slots and not _is_redundant(tensor.name, config)
    }
    _check_names(sorted(slots.keys() - {tensor.name for tensor in wanted}), sorted(unexpected), folder)
    return wanted


def find_weight_files(folder: Path) -> list[Path]:
    """Finds the single file, or the shards that the index names, all in the folder itself."""
    index, single = folder / "model.safetensors.index.json", folder / "model.safetensors"
    if has_file(index):
        return _read_index(index)
    if has_file(single):
        return [single]
    if any(folder.glob("*.bin")) or any(folder.glob("*.pt")) or any(folder.glob("*.pth")):
        raise BadCheckpoint(
            f"{folder} holds weights only as pickle (.bin, .pt); convert them to safetensors, nothing else is loaded"
        )
    raise BadCheckpoint(
        f"{folder} holds neither model.safetensors nor model.safetensors.index.json; fetch the model again"
    )


def _read_index(index: Path) -> list[Path]:
    names = sorted(set(read_json(index, IndexFile, limit_bytes=MAX_INDEX_BYTES).weight_map.values()))
    wrong = [name for name in names if Path(name).name != name or not name.endswith(".safetensors")]
    missing = [] if wrong else [name for name in names if not has_file(index.parent / name)]
    if wrong or missing:
        raise BadCheckpoint(
            f"{index}: weight_map: files {list_names(wrong or missing)} are "
            f"{'not plain names of safetensors' if wrong else 'missing'}; fetch the model again"
        )
    return [index.parent / name for name in names]


def build_tensor_slots(model: Llama) -> dict[str, Slot]:
    """Maps checkpoint names to the views of the parameters that they fill."""
    slots: dict[str, Slot] = {"model.embed_tokens.weight": model.embedding.data, "model.norm.weight": model.norm.data}
    if not model.config.tie_word_embeddings:
        slots["lm_head.weight"] = _keep_rows_of_head(model)
    for index, layer in enumerate(model.layers):
        assert isinstance(layer, Layer)
        slots.update({f"model.layers.{index}.{name}": tensor for name, tensor in _build_layer_slots(layer).items()})
    return slots


def _keep_rows_of_head(model: Llama) -> Slot:
    if model.config.shard.size == 1:
        return model.lm_head.data
    return PartSlot(model.lm_head.data, 0, model.head_rows.start, model.config.vocab_size)


def _build_kv_scale_slots(config: ModelConfig, scales: Tensor) -> dict[str, Slot]:
    """Maps checkpoint names to the entries of scales [layers, 2]."""
    if config.quantization is None or not config.quantization.has_kv_scales:
        return {}
    return {
        f"model.layers.{index}.self_attn.{name}_scale": scale
        for index, pair in enumerate(scales)
        for name, scale in zip("kv", pair, strict=True)
    }


def _build_layer_slots(layer: Layer) -> dict[str, Slot]:
    slots: dict[str, Slot] = {
        "input_layernorm.weight": layer.attention_norm.data,
        "post_attention_layernorm.weight": layer.mlp_norm.data,
    }
    if layer.config.qk_norm:
        slots |= {"self_attn.q_norm.weight": layer.q_norm.data, "self_attn.k_norm.weight": layer.k_norm.data}
    qkv_sizes, intermediate = [layer.q_size, layer.kv_size, layer.kv_size], layer.config.intermediate_size
    merged = (
        (layer.qkv, ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"], qkv_sizes, 0),
        (layer.output, ["self_attn.o_proj"], [layer.config.hidden_size], 1),
        (layer.gate_up, ["mlp.gate_proj", "mlp.up_proj"], [intermediate, intermediate], 0),
        (layer.down, ["mlp.down_proj"], [layer.config.hidden_size], 1),
    )
    for linear, names, sizes, dimension in merged:
        for kind, parts in _split_parameters(linear, sizes, stored_fp8=layer.config.quantization is not None).items():
            kept = [_keep_part(part, dimension, layer.config.shard) for part in parts]
            slots |= {f"{name}.{kind}": part for name, part in zip(names, kept, strict=True)}
    return slots


def _keep_part(slot: Tensor | Fp8Slot, dimension: int, shard: Shard) -> Slot:
    """Returns what a shard keeps of a projection divided by rows (0) or columns (1).

    NB: biases and scales have no columns.
    """
    kept = slot.values if isinstance(slot, Fp8Slot) else slot
    if shard.size == 1 or dimension >= kept.dim():
        return slot
    size = kept.shape[dimension]
    return PartSlot(slot, dimension, shard.rank * size, shard.size * size)


def _split_parameters(
    linear: nn.Module, sizes: list[int], *, stored_fp8: bool
) -> dict[str, list[Tensor] | list[Fp8Slot]]:
    """Cuts a merged projection's parameters, by their names, into the parts that a checkpoint has."""
    parts = {name: list(torch.split(parameter.data, sizes)) for name, parameter in linear.named_parameters()}
    slots: dict[str, list[Tensor] | list[Fp8Slot]] = {**parts}
    if isinstance(linear, Fp8Linear) and not stored_fp8:
        del slots["weight_scale"]
        slots["weight"] = [Fp8Slot(*pair) for pair in zip(parts["weight"], parts["weight_scale"], strict=True)]
    return slots


def _read_weights(tensors: Sequence[StoredTensor], slots: Mapping[str, Slot], device: torch.device) -> None:
    begin = time.perf_counter()
    pieces = [piece for tensor in tensors for piece in cut(tensor) if is_kept(piece, slots[tensor.name])]
    for piece, values in read_ahead(pieces, device):
        place(piece, slots[piece.tensor.name], values)
    seconds, gigabytes = time.perf_counter() - begin, sum(piece.num_bytes for piece in pieces) / 1e9
    log.info("weights read GB=%.2f seconds=%.2f GB_per_second=%.2f", gigabytes, seconds, gigabytes / seconds)


def _is_redundant(name: str, config: ModelConfig) -> bool:
    """Returns whether the tensor is not needed: the head when tied, or `input_scale`, as each token has its own here.

    What is added to a sum of all ranks is the first one's.
    """
    has_bias = {"o_proj.bias": config.output_bias, "down_proj.bias": config.mlp_bias}
    return (
        name.endswith("rotary_emb.inv_freq")
        or (config.shard.rank > 0 and has_bias.get(".".join(name.split(".")[-2:]), False))
        or (name == "lm_head.weight" and config.tie_word_embeddings)
        or (name.endswith("_proj.input_scale") and config.quantization is not None)
    )


def _check_unique(stored: Sequence[StoredTensor]) -> None:
    of_name: dict[str, StoredTensor] = {}
    for tensor in stored:
        if (other := of_name.setdefault(tensor.name, tensor)) is not tensor:
            raise BadCheckpoint(
                f"tensor {shorten(tensor.name)} is in {other.path} and in {tensor.path}; fetch the model again"
            )


def _check_names(missing: list[str], unexpected: list[str], folder: Path) -> None:
    if not missing and not unexpected:
        return
    parts = [
        f"{what} {list_names(names)}" for what, names in (("missing", missing), ("unexpected", unexpected)) if names
    ]
    raise BadCheckpoint(f"the weights in {folder} do not fit config.json: {'; '.join(parts)}")
