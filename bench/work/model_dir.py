"""Writes a model folder with the exact shape of a public model, so that speed is measured without a download.

The tokenizer is a byte-level BPE of the full vocabulary: every id decodes to text, so an engine pays for real
detokenising. Weights are random and written only on request: vLLM and transformers make their own.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.work.shapes import SHAPES
from pagoda_server.start.common_shapes import Shape

CONFIG_OF_ALL: dict[str, Any] = {
    "hidden_act": "silu",
    "rms_norm_eps": 1e-6,
    "torch_dtype": "bfloat16",
    "bos_token_id": 0,
    "eos_token_id": 1,
    "initializer_range": 0.02,
    "use_cache": True,
    "attention_dropout": 0.0,
    "attention_bias": False,
}
CHAT_TEMPLATE = "{% for m in messages %}{{ m['content'] }}{% endfor %}"


def build_config(shape: Shape) -> dict[str, Any]:
    config = CONFIG_OF_ALL | {
        "architectures": [shape.architecture],
        "model_type": "qwen3" if shape.qk_norm else "llama",
        "num_hidden_layers": shape.num_layers,
        "hidden_size": shape.hidden_size,
        "num_attention_heads": shape.num_heads,
        "num_key_value_heads": shape.num_kv_heads,
        "head_dim": shape.head_dim,
        "intermediate_size": shape.intermediate_size,
        "vocab_size": shape.vocab_size,
        "tie_word_embeddings": shape.tied,
        "rope_theta": shape.rope_theta,
        "max_position_embeddings": shape.max_position_embeddings,
    }
    if shape.qk_norm:
        config |= {"use_sliding_window": False, "sliding_window": None, "max_window_layers": shape.num_layers}
    return config


def build_vocabulary(size: int, alphabet: list[str]) -> dict[str, int]:
    tokens = ["<s>", "</s>", *alphabet]
    tokens += [f"Ġw{index:x}" for index in range(len(tokens), size)]
    return {token: index for index, token in enumerate(tokens)}


def write_tokenizer(folder: Path, shape: Shape) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab=build_vocabulary(shape.vocab_size, alphabet), merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<s>", "</s>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "model_max_length": shape.max_position_embeddings,
        "chat_template": CHAT_TEMPLATE,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def build_weight_shapes(shape: Shape) -> dict[str, tuple[int, ...]]:
    """Returns the shape of every tensor of the checkpoint, by its public name."""
    hidden, inner = shape.hidden_size, shape.intermediate_size
    q_size, kv_size = shape.num_heads * shape.head_dim, shape.num_kv_heads * shape.head_dim
    layer: dict[str, tuple[int, ...]] = {
        "input_layernorm": (hidden,),
        "post_attention_layernorm": (hidden,),
        "self_attn.q_proj": (q_size, hidden),
        "self_attn.k_proj": (kv_size, hidden),
        "self_attn.v_proj": (kv_size, hidden),
        "self_attn.o_proj": (hidden, q_size),
        "mlp.gate_proj": (inner, hidden),
        "mlp.up_proj": (inner, hidden),
        "mlp.down_proj": (hidden, inner),
    }
    if shape.qk_norm:
        layer |= {"self_attn.q_norm": (shape.head_dim,), "self_attn.k_norm": (shape.head_dim,)}
    outer = {"model.embed_tokens.weight": (shape.vocab_size, hidden), "model.norm.weight": (hidden,)}
    if not shape.tied:
        outer["lm_head.weight"] = (shape.vocab_size, hidden)
    layers = range(shape.num_layers)
    return outer | {f"model.layers.{index}.{name}.weight": size for index in layers for name, size in layer.items()}


def write_weights(folder: Path, shape: Shape) -> None:
    """Writes random bf16, made on the GPU where there is one."""
    import torch
    from safetensors.torch import save_file

    device = "cuda" if torch.cuda.is_available() else "cpu"
    tensors = {
        name: torch.ones(size, dtype=torch.bfloat16)
        if len(size) == 1
        else torch.empty(size, dtype=torch.bfloat16, device=device).normal_(std=CONFIG_OF_ALL["initializer_range"])
        for name, size in build_weight_shapes(shape).items()
    }
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def write_model_dir(name: str, folder: Path, *, weights: bool = False) -> None:
    shape = SHAPES[name]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(build_config(shape), indent=1))
    (folder / "generation_config.json").write_text(json.dumps({"bos_token_id": 0, "eos_token_id": 1}))
    write_tokenizer(folder, shape)
    if weights:
        write_weights(folder, shape)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench model-dir", description=__doc__)
    parser.add_argument("name", choices=sorted(SHAPES))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--weights", action="store_true", help="random weights too, as model.safetensors")
    args = parser.parse_args(argv)
    write_model_dir(args.name, args.folder, weights=args.weights)
    return 0
