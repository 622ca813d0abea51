"""The decoder of `model/llama.py` on our kernels: the same weights, fewer passes over memory.

The sum of the residual stream is fused into the norm after it, query and key norms, rotary embedding and the write to
the KV pages are one kernel, and nothing waits for the host.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from pagoda_server.kernels.activation import silu_mul, silu_mul_fp8
from pagoda_server.kernels.norm import add_rms_norm, add_rms_norm_fp8, rms_norm, rms_norm_fp8
from pagoda_server.kernels.rope_write import build_rotary_table, rope_write
from pagoda_server.model.llama import Layer, Llama, build_inverse_frequencies
from pagoda_server.quant.fp8 import Fp8Linear
from pagoda_server.runtime.cache import LayerCache

Attend = Callable[[Tensor, LayerCache], Tensor]
"""q [T, heads, head_dim] → [T, heads, head_dim]."""


class BeforeProjections(NamedTuple):
    """The kernels whose results go into projections, and nowhere else: in fp8 they give values and scales."""

    rms_norm: Callable[..., Any]
    add_rms_norm: Callable[..., Any]
    silu_mul: Callable[..., Any]


PLAIN = BeforeProjections(rms_norm, add_rms_norm, silu_mul)
FP8 = BeforeProjections(rms_norm_fp8, add_rms_norm_fp8, silu_mul_fp8)


class FusedDecoder:
    def __init__(self, model: Llama, caches: list[LayerCache], max_position: int) -> None:
        config = model.config
        self.model, self.caches = model, caches
        self.before = FP8 if any(isinstance(module, Fp8Linear) for module in model.modules()) else PLAIN
        frequencies = build_inverse_frequencies(config.head_dim, config.rope_theta, config.rope_scaling)
        self.cos, self.sin = build_rotary_table(frequencies.to(model.embedding.device), max_position)

    @property
    def head(self) -> Tensor:
        """[vocab, hidden]"""
        return self.model.embedding if self.model.config.tie_word_embeddings else self.model.lm_head

    def forward(self, input_ids: Tensor, positions: Tensor, slots: Tensor, attend: Attend) -> Tensor:
        """input_ids, positions and slots [T] → hidden states [T, hidden] after the last norm."""
        eps, before = self.model.config.rms_norm_eps, self.before
        residual = F.embedding(input_ids, self.model.embedding)
        delta: Tensor | None = None
        for layer, cache in zip(self.model.layers, self.caches, strict=True):
            assert isinstance(layer, Layer)
            weight = layer.attention_norm
            if delta is None:
                x = before.rms_norm(residual, weight, eps)
            else:
                x = before.add_rms_norm(delta, residual, weight, eps)
            q = self._write(layer, layer.qkv(x), positions, slots, cache)
            delta = layer.output(attend(q, cache).flatten(1))
            x = before.add_rms_norm(delta, residual, layer.mlp_norm, eps)
            delta = layer.down(before.silu_mul(layer.gate_up(x)))
        assert delta is not None
        return add_rms_norm(delta, residual, self.model.norm, eps)

    def _write(self, layer: Layer, qkv: Tensor, positions: Tensor, slots: Tensor, cache: LayerCache) -> Tensor:
        config = self.model.config
        norms = (layer.q_norm, layer.k_norm) if config.qk_norm else (None, None)
        return rope_write(
            qkv,
            positions,
            slots,
            self.cos,
            self.sin,
            cache.k,
            cache.v,
            config.num_heads,
            q_norm=norms[0],
            k_norm=norms[1],
            eps=config.rms_norm_eps,
            k_scale=cache.k_scale,
            v_scale=cache.v_scale,
        )

    def compute_logits(self, hidden: Tensor, out: Tensor | None = None) -> Tensor:
        """[S, hidden] → [S, vocab] of the activations' dtype."""
        return torch.matmul(hidden, self.head.t(), out=out)
