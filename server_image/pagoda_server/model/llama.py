"""The decoder of Llama, Mistral, Qwen2 and Qwen3: one family, told apart by flags of `ModelConfig`.

It knows nothing of pages: attention comes in as a function of (layer, q, k, v). Nor of who the other ranks are, when it
is one shard of several: what must be summed or gathered goes through a `Group`.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pagoda_server.model.config import Llama3Rope, ModelConfig
from pagoda_server.model.shard import ALONE, Group

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]
"""(layer, q [T, heads, head_dim], k and v [T, kv_heads, head_dim]) → [T, heads, head_dim]."""


class Rotary(NamedTuple):
    cos: Tensor
    """[T, 1, head_dim], the activations' dtype."""
    sin: Tensor


def build_inverse_frequencies(head_dim: int, theta: float, scaling: Llama3Rope | None) -> Tensor:
    """Returns [head_dim / 2] float32, on CPU. Llama 3.1 stretches the low frequencies and blends those between."""
    exponents = torch.arange(0, head_dim, 2, dtype=torch.int64).float() / head_dim
    frequencies = 1.0 / (theta**exponents)
    if scaling is None:
        return frequencies
    original, low, high = scaling.original_max_position_embeddings, scaling.low_freq_factor, scaling.high_freq_factor
    wavelengths = 2 * math.pi / frequencies
    blend = (original / wavelengths - low) / (high - low)
    blended = (1 - blend) * frequencies / scaling.factor + blend * frequencies
    scaled = torch.where(wavelengths > original / low, frequencies / scaling.factor, blended)
    return torch.where(wavelengths < original / high, frequencies, scaled)


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Norms over the last dimension, in float32; returns `x`'s dtype."""
    wide = x.float()
    normed = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)
    return weight * normed.to(x.dtype)


def rotate(x: Tensor, rotary: Rotary) -> Tensor:
    """Rotates x [T, heads, head_dim] by halves."""
    first, second = x.chunk(2, dim=-1)
    return x * rotary.cos + torch.cat((-second, first), dim=-1) * rotary.sin


class Layer(nn.Module):
    """One block; projections that share an input are one matrix, in fp8 after `quant.fp8.replace_linears`."""

    def __init__(self, config: ModelConfig, index: int, group: Group = ALONE) -> None:
        super().__init__()
        self.config, self.index, self.group = config, index, group
        self.kv_scales = (1.0, 1.0)  # of keys and values, for a cache in fp8
        hidden, head_dim, adds_bias = config.hidden_size, config.head_dim, config.shard.rank == 0
        self.q_size, self.kv_size = config.num_heads * head_dim, config.num_kv_heads * head_dim
        self.qkv = nn.Linear(hidden, self.q_size + 2 * self.kv_size, bias=config.qkv_bias)
        self.output = nn.Linear(self.q_size, hidden, bias=config.output_bias and adds_bias)
        self.gate_up = nn.Linear(hidden, 2 * config.intermediate_size, bias=config.mlp_bias)
        self.down = nn.Linear(config.intermediate_size, hidden, bias=config.mlp_bias and adds_bias)
        self.attention_norm = nn.Parameter(torch.empty(hidden))
        self.mlp_norm = nn.Parameter(torch.empty(hidden))
        if config.qk_norm:
            self.q_norm = nn.Parameter(torch.empty(head_dim))
            self.k_norm = nn.Parameter(torch.empty(head_dim))

    def forward(self, x: Tensor, rotary: Rotary, attend: Attend) -> Tensor:
        """Computes x [T, hidden] → the same shape."""
        x = x + self._attention(rms_norm(x, self.attention_norm, self.config.rms_norm_eps), rotary, attend)
        gate, up = self.gate_up(rms_norm(x, self.mlp_norm, self.config.rms_norm_eps)).chunk(2, dim=-1)
        return x + self.group.sum(self.down(F.silu(gate) * up))

    def _attention(self, x: Tensor, rotary: Rotary, attend: Attend) -> Tensor:
        q, k, v = self.qkv(x).split((self.q_size, self.kv_size, self.kv_size), dim=-1)
        q, k, v = (part.unflatten(-1, (-1, self.config.head_dim)) for part in (q, k, v))
        if self.config.qk_norm:
            q = rms_norm(q, self.q_norm, self.config.rms_norm_eps)
            k = rms_norm(k, self.k_norm, self.config.rms_norm_eps)
        attended = attend(self.index, rotate(q, rotary), rotate(k, rotary), v)
        return self.group.sum(self.output(attended.flatten(1)))


class Llama(nn.Module):
    def __init__(self, config: ModelConfig, group: Group = ALONE) -> None:
        super().__init__()
        self.config, self.group = config, group
        self.embedding = nn.Parameter(torch.empty(config.vocab_size, config.hidden_size))
        self.layers = nn.ModuleList(Layer(config, index, group) for index in range(config.num_layers))
        self.norm = nn.Parameter(torch.empty(config.hidden_size))
        if not config.tie_word_embeddings:
            self.lm_head = nn.Parameter(torch.empty(len(self.head_rows), config.hidden_size))
        self.inverse_frequencies: Tensor | None = None

    @property
    def head_rows(self) -> range:
        return self.config.shard.rows_of_head(self.config.vocab_size)

    @property
    def head(self) -> Tensor:
        """Returns [rows of this shard, hidden]."""
        if not self.config.tie_word_embeddings:
            return self.lm_head
        return self.embedding[self.head_rows.start : self.head_rows.stop]

    def forward(self, input_ids: Tensor, positions: Tensor, attend: Attend) -> Tensor:
        """Computes input_ids and positions [T] int64 → hidden states [T, hidden] after the last norm."""
        x = F.embedding(input_ids, self.embedding)
        rotary = self._build_rotary(positions, x.dtype)
        for layer in self.layers:
            x = layer(x, rotary, attend)
        return rms_norm(x, self.norm, self.config.rms_norm_eps)

    def compute_logits(self, hidden: Tensor, out: Tensor | None = None) -> Tensor:
        """Computes [S, hidden] → [S, vocab] of the activations' dtype, the same on all ranks; `out` holds them."""
        shard, vocab_size = self.config.shard, self.config.vocab_size
        if shard.size == 1:
            return torch.matmul(hidden, self.head.t(), out=out)
        missing, own = shard.width_of_head(vocab_size) - len(self.head_rows), F.linear(hidden, self.head)
        parts = self.group.gather(F.pad(own, (0, missing)) if missing else own)  # no padding would be a copy
        logits = hidden.new_empty((hidden.shape[0], vocab_size)) if out is None else out
        for columns, part in zip(torch.split(logits, parts.shape[2], dim=1), parts, strict=False):
            columns.copy_(part[:, : columns.shape[1]])
        return logits

    def _build_rotary(self, positions: Tensor, dtype: torch.dtype) -> Rotary:
        if self.inverse_frequencies is None:
            config = self.config
            frequencies = build_inverse_frequencies(config.head_dim, config.rope_theta, config.rope_scaling)
            self.inverse_frequencies = frequencies.to(positions.device)
        angles = positions.float()[:, None] * self.inverse_frequencies[None, :]
        angles = torch.cat((angles, angles), dim=-1)[:, None, :]
        return Rotary(angles.cos().to(dtype), angles.sin().to(dtype))
