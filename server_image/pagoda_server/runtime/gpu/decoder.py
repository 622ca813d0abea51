"""The decoder of `model/llama.py` on our kernels: the same weights, fewer passes over memory.

The sum of the residual stream, and of a shard that over the ranks, is fused into the norm after it, query and key
norms, rotary embedding and the write to the KV pages are one kernel, and nothing waits for the host.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from pagoda_server.kernels.invariant_linear import invariant_linear
from pagoda_server.kernels.rope_write import build_rotary_table, rope_write
from pagoda_server.model.llama import Layer, Llama, build_inverse_frequencies
from pagoda_server.quant.fp8 import Fp8Linear
from pagoda_server.runtime.cache import LayerCache
from pagoda_server.runtime.gpu.projections import ALL_FP8, ALL_INVARIANT, ALL_TORCH, ProjectionPlan, ResidualStream

Attend = Callable[[Tensor, LayerCache], Tensor]
"""q [T, heads, head_dim] → [T, heads, head_dim]."""


class Wanted(NamedTuple):
    """Tokens whose hidden states are asked for, when not those of all are."""

    tokens: Tensor
    """[S] int32, places in the flat batch."""
    attend: Attend
    """The attention of their queries alone, [S, heads, head_dim]."""


class FusedDecoder:
    def __init__(
        self, model: Llama, caches: list[LayerCache], max_position: int, projections: ProjectionPlan | None = None
    ) -> None:
        """Takes the `projections`, which default to cuBLAS's for any number of tokens."""
        config = model.config
        self.model, self.caches = model, caches
        has_fp8 = any(isinstance(module, Fp8Linear) for module in model.modules())
        self.projections = projections or ProjectionPlan(otherwise=ALL_FP8 if has_fp8 else ALL_TORCH)
        frequencies = build_inverse_frequencies(config.head_dim, config.rope_theta, config.rope_scaling)
        self.cos, self.sin = build_rotary_table(frequencies.to(model.embedding.device), max_position)

    def forward(
        self, input_ids: Tensor, positions: Tensor, slots: Tensor, attend: Attend, wanted: Wanted | None = None
    ) -> Tensor:
        """Takes input_ids, positions and slots [T] → hidden states [T, hidden] after the last norm, or of those wanted.

        In the last layer others have only keys and values: no layer reads what they would have become.
        """
        eps = self.model.config.rms_norm_eps
        stream = ResidualStream(F.embedding(input_ids, self.model.embedding), group=self.model.group)
        backends = self.projections.backends_for(input_ids.shape[0])
        for layer, cache in zip(self.model.layers, self.caches, strict=True):
            assert isinstance(layer, Layer)
            qkv = backends.qkv.read(stream, layer.attention_norm, eps, layer.qkv)
            q = self._write(layer, qkv, positions, slots, cache)
            if wanted is not None and layer is self.model.layers[-1]:
                stream, q, attend = stream.take(wanted.tokens), q.index_select(0, wanted.tokens), wanted.attend
            backends.output.write(attend(q, cache).flatten(1), layer.output, stream)
            x = backends.gate_up.read_gated(stream, layer.mlp_norm, eps, layer.gate_up)
            backends.down.write(x, layer.down, stream)
        return stream.norm(self.model.norm, eps)

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
        """Computes [S, hidden] → [S, vocab] of the activations' dtype."""
        if self.projections.otherwise is ALL_INVARIANT:
            return invariant_linear(hidden, self.model.head, out=out)
        return self.model.compute_logits(hidden, out)
