"""The KV tensors of every layer, in the activations' type or in fp8, and how many bytes a page of them takes."""

from typing import NamedTuple

import torch
from torch import Tensor

from pagoda_server.model.config import ModelConfig
from pagoda_server.model.llama import Layer, Llama


class LayerCache(NamedTuple):
    k: Tensor
    """[pages, page_size, kv_heads, head_dim]"""
    v: Tensor
    k_scale: float = 1.0
    """The keys are what the cache holds times this; 1 unless it is fp8."""
    v_scale: float = 1.0


def build_caches(model: Llama, num_pages: int, page_size: int, dtype: torch.dtype) -> list[LayerCache]:
    """Returns a cache of zeros for each layer, on the model's device; in fp8 with the checkpoint's scales."""
    config = model.config
    shape = (num_pages, page_size, config.num_kv_heads, config.head_dim)
    caches = []
    for layer in model.layers:
        assert isinstance(layer, Layer)
        k, v = (model.embedding.new_zeros(shape, dtype=dtype) for _ in range(2))
        caches.append(LayerCache(k, v, *layer.kv_scales) if dtype.itemsize == 1 else LayerCache(k, v))
    return caches


def count_page_bytes(config: ModelConfig, page_size: int, dtype: torch.dtype) -> int:
    """Returns the bytes of one page over all layers, keys and values, in a cache of `dtype`."""
    return 2 * config.num_layers * page_size * config.num_kv_heads * config.head_dim * dtype.itemsize
