"""Weights from safetensors into the decoder. Never pickle, never code; every tensor is accounted for by name."""

import json
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from pagoda_server.model.config import ModelConfig, UnsupportedModel
from pagoda_server.model.llama import Layer, Llama


class BadCheckpoint(UnsupportedModel):
    """The weights do not fit the config; the message names tensors or files."""


def load_model(folder: Path, config: ModelConfig, device: torch.device, dtype: torch.dtype) -> Llama:
    """The decoder in eval form on `device`. Raises `BadCheckpoint`."""
    files = find_weight_files(folder)
    with torch.device("meta"):
        model = Llama(config)
    model = model.to(dtype).to_empty(device=device).requires_grad_(False).eval()
    slots = build_tensor_slots(model)
    seen: set[str] = set()
    unexpected: list[str] = []
    for path in files:
        for name, tensor in _read_tensors(path):
            if name in slots:
                _copy(name, slots[name], tensor)
                seen.add(name)
            elif not _is_redundant(name, config):
                unexpected.append(name)
    _check_names(sorted(slots.keys() - seen), sorted(unexpected), folder)
    return model


def find_weight_files(folder: Path) -> list[Path]:
    """The single file, or the shards that the index names."""
    index, single = folder / "model.safetensors.index.json", folder / "model.safetensors"
    if index.exists():
        names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
        wrong = [name for name in names if Path(name).name != name or not name.endswith(".safetensors")]
        missing = [name for name in names if not (folder / name).exists()]
        if wrong or missing:
            raise BadCheckpoint(
                f"{index}: files {wrong or missing} are {'not plain safetensors' if wrong else 'missing'}; "
                "fetch the model again"
            )
        return [folder / name for name in names]
    if single.exists():
        return [single]
    if any(folder.glob("*.bin")) or any(folder.glob("*.pt")) or any(folder.glob("*.pth")):
        raise BadCheckpoint(
            f"{folder} holds weights only as pickle (.bin, .pt); convert them to safetensors, nothing else is loaded"
        )
    raise BadCheckpoint(
        f"{folder} holds neither model.safetensors nor model.safetensors.index.json; fetch the model again"
    )


def build_tensor_slots(model: Llama) -> dict[str, Tensor]:
    """Checkpoint names to the views of the parameters that they fill."""
    slots = {"model.embed_tokens.weight": model.embedding.data, "model.norm.weight": model.norm.data}
    if not model.config.tie_word_embeddings:
        slots["lm_head.weight"] = model.lm_head.data
    for index, layer in enumerate(model.layers):
        assert isinstance(layer, Layer)
        slots.update({f"model.layers.{index}.{name}": tensor for name, tensor in _build_layer_slots(layer).items()})
    return slots


def _build_layer_slots(layer: Layer) -> dict[str, Tensor]:
    slots = {
        "input_layernorm.weight": layer.attention_norm.data,
        "post_attention_layernorm.weight": layer.mlp_norm.data,
    }
    if layer.config.qk_norm:
        slots |= {"self_attn.q_norm.weight": layer.q_norm.data, "self_attn.k_norm.weight": layer.k_norm.data}
    qkv_sizes, intermediate = [layer.q_size, layer.kv_size, layer.kv_size], layer.config.intermediate_size
    merged = (
        (layer.qkv, ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"], qkv_sizes),
        (layer.output, ["self_attn.o_proj"], [layer.config.hidden_size]),
        (layer.gate_up, ["mlp.gate_proj", "mlp.up_proj"], [intermediate, intermediate]),
        (layer.down, ["mlp.down_proj"], [layer.config.hidden_size]),
    )
    for linear, names, sizes in merged:
        for kind, parameter in linear.named_parameters():
            slots |= {
                f"{name}.{kind}": part for name, part in zip(names, torch.split(parameter.data, sizes), strict=True)
            }
    return slots


def _read_tensors(path: Path) -> Iterator[tuple[str, Tensor]]:
    with safe_open(path, framework="pt", device="cpu") as file:
        for name in file.keys():  # noqa: SIM118
            yield name, file.get_tensor(name)


def _copy(name: str, slot: Tensor, tensor: Tensor) -> None:
    if slot.shape != tensor.shape:
        raise BadCheckpoint(f"tensor {name} has shape {list(tensor.shape)}; config.json asks for {list(slot.shape)}")
    if not tensor.is_floating_point():
        raise BadCheckpoint(f"tensor {name} is {tensor.dtype}; use the unquantized checkpoint")
    slot.copy_(tensor)


def _is_redundant(name: str, config: ModelConfig) -> bool:
    return name.endswith("rotary_emb.inv_freq") or (name == "lm_head.weight" and config.tie_word_embeddings)


def _check_names(missing: list[str], unexpected: list[str], folder: Path) -> None:
    if not missing and not unexpected:
        return
    parts = [f"{what} {_shorten(names)}" for what, names in (("missing", missing), ("unexpected", unexpected)) if names]
    raise BadCheckpoint(f"the weights in {folder} do not fit config.json: {'; '.join(parts)}")


def _shorten(names: list[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
