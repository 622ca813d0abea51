"""The exact shapes of public models, and what one token of each costs in bytes and operations."""

from dataclasses import dataclass
from typing import Literal

Precision = Literal["bf16", "fp8"]
"""fp8: weights (lm_head apart) and KV cache both."""
BF16_BYTES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    family: Literal["llama", "qwen3"]
    num_layers: int
    hidden_size: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    intermediate_size: int
    vocab_size: int
    rope_theta: float
    max_position_embeddings: int
    tied: bool

    @property
    def body_parameters(self) -> int:
        return self.num_layers * self.layer_parameters

    @property
    def layer_parameters(self) -> int:
        queries_and_output = 2 * self.hidden_size * self.head_dim * self.num_heads
        return self.key_value_parameters + queries_and_output + 3 * self.hidden_size * self.intermediate_size

    @property
    def key_value_parameters(self) -> int:
        """Of a layer."""
        return 2 * self.hidden_size * self.head_dim * self.num_kv_heads

    def weight_bytes(self, precision: Precision) -> int:
        """Read by each decode step; lm_head stays bf16."""
        body_bytes = self.body_parameters * (1 if precision == "fp8" else BF16_BYTES)
        return body_bytes + self.hidden_size * self.vocab_size * BF16_BYTES

    def kv_bytes(self, precision: Precision) -> int:
        """Of one token, keys and values, all layers."""
        return 2 * self.num_layers * self.num_kv_heads * self.head_dim * (1 if precision == "fp8" else BF16_BYTES)

    def prefill_flop(self, num_tokens: int) -> int:
        """Of one causal prompt, without lm_head."""
        return self.prefill_projections_flop(num_tokens) + self.prefill_attention_flop(num_tokens)

    def prefill_projections_flop(self, num_tokens: int) -> int:
        """Of the last layer's only keys and values are needed of every token, the rest of the last token alone."""
        of_last = self.layer_parameters - self.key_value_parameters
        return 2 * ((self.body_parameters - of_last) * num_tokens + of_last)

    def prefill_attention_flop(self, num_tokens: int) -> int:
        """Each query with all keys up to its own; in the last layer, the last query alone."""
        pairs = (self.num_layers - 1) * num_tokens * (num_tokens + 1) // 2 + num_tokens
        return 4 * self.num_heads * self.head_dim * pairs


SHAPES: dict[str, Shape] = {
    "qwen3-0.6b": Shape(
        family="qwen3",
        num_layers=28,
        hidden_size=1024,
        num_heads=16,
        num_kv_heads=8,
        head_dim=128,
        intermediate_size=3072,
        vocab_size=151936,
        rope_theta=1e6,
        max_position_embeddings=40960,
        tied=True,
    ),
    "llama-3.2-1b": Shape(
        family="llama",
        num_layers=16,
        hidden_size=2048,
        num_heads=32,
        num_kv_heads=8,
        head_dim=64,
        intermediate_size=8192,
        vocab_size=128256,
        rope_theta=5e5,
        max_position_embeddings=131072,
        tied=True,
    ),
    "llama-3.1-8b": Shape(
        family="llama",
        num_layers=32,
        hidden_size=4096,
        num_heads=32,
        num_kv_heads=8,
        head_dim=128,
        intermediate_size=14336,
        vocab_size=128256,
        rope_theta=5e5,
        max_position_embeddings=131072,
        tied=False,
    ),
    "qwen3-8b": Shape(
        family="qwen3",
        num_layers=36,
        hidden_size=4096,
        num_heads=32,
        num_kv_heads=8,
        head_dim=128,
        intermediate_size=12288,
        vocab_size=151936,
        rope_theta=1e6,
        max_position_embeddings=40960,
        tied=False,
    ),
}
