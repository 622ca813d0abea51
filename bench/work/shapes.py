"""The models that are measured, of the server's table of shapes, and what one token of each costs in bytes and FLOP."""

from typing import Literal

from pagoda_server.start.common_shapes import COMMON_SHAPES, Shape

Precision = Literal["bf16", "fp8"]
"""fp8: weights (lm_head apart) and KV cache both."""
BF16_BYTES = 2
MEASURED = ("Qwen3-0.6B", "Llama-3.2-1B", "Llama-3.1-8B", "Qwen3-8B")
SHAPES: dict[str, Shape] = {name.lower(): COMMON_SHAPES[name] for name in MEASURED}
"""By the name in results.json, from small to large."""


def count_layer_parameters(shape: Shape) -> int:
    queries_and_output = 2 * shape.hidden_size * shape.head_dim * shape.num_heads
    return count_key_value_parameters(shape) + queries_and_output + 3 * shape.hidden_size * shape.intermediate_size


def count_key_value_parameters(shape: Shape) -> int:
    """Returns how many a layer has."""
    return 2 * shape.hidden_size * shape.head_dim * shape.num_kv_heads


def count_body_parameters(shape: Shape) -> int:
    """Returns how many all layers have together."""
    return shape.num_layers * count_layer_parameters(shape)


def count_weight_bytes(shape: Shape, precision: Precision) -> int:
    """Returns what each decode step reads; lm_head stays bf16."""
    body_bytes = count_body_parameters(shape) * (1 if precision == "fp8" else BF16_BYTES)
    return body_bytes + shape.hidden_size * shape.vocab_size * BF16_BYTES


def count_kv_bytes(shape: Shape, precision: Precision) -> int:
    """Returns the bytes of one token's keys and values in all layers."""
    return 2 * shape.num_layers * shape.num_kv_heads * shape.head_dim * (1 if precision == "fp8" else BF16_BYTES)


def count_prefill_flop(shape: Shape, num_tokens: int) -> int:
    """Returns the operations of one causal prompt, without lm_head."""
    return count_prefill_projections_flop(shape, num_tokens) + count_prefill_attention_flop(shape, num_tokens)


def count_prefill_projections_flop(shape: Shape, num_tokens: int) -> int:
    """Counts, of the last layer, keys and values of every token and the rest of the last token alone."""
    of_last = count_layer_parameters(shape) - count_key_value_parameters(shape)
    return 2 * ((count_body_parameters(shape) - of_last) * num_tokens + of_last)


def count_prefill_attention_flop(shape: Shape, num_tokens: int) -> int:
    """Counts each query with all keys up to its own; in the last layer, the last query alone."""
    pairs = (shape.num_layers - 1) * num_tokens * (num_tokens + 1) // 2 + num_tokens
    return 4 * shape.num_heads * shape.head_dim * pairs
