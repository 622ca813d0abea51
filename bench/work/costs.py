"""The parts of a step, and the minimum of bytes that each must move and of operations that it must do."""

from dataclasses import dataclass
from typing import Literal

from bench.work.shapes import (
    BF16_BYTES,
    Precision,
    count_body_parameters,
    count_kv_bytes,
    count_prefill_attention_flop,
    count_prefill_projections_flop,
    count_weight_bytes,
)
from pagoda_server.start.common_shapes import Shape

Role = Literal["projections", "attention", "norm, rope, activation", "logits", "sampler", "copies", "other"]
"""What a kernel of a step is for."""


@dataclass(frozen=True, slots=True)
class Cost:
    """The minimum of one step."""

    num_bytes: float
    flop: float

    def __truediv__(self, count: int) -> "Cost":
        return Cost(self.num_bytes / count, self.flop / count)


def compute_decode_costs(shape: Shape, precision: Precision, batch: int, context: int) -> dict[Role, Cost]:
    """Returns the costs of one step of `batch` sequences that each read `context` tokens."""
    return _costs(
        shape,
        precision,
        num_logits=batch,
        kv_bytes=count_kv_bytes(shape, precision) * batch * context,
        projections_flop=2 * count_body_parameters(shape) * batch,
        attention_flop=4 * shape.num_layers * shape.num_heads * shape.head_dim * batch * context,
    )


def compute_prefill_costs(shape: Shape, precision: Precision, length: int) -> dict[Role, Cost]:
    """Returns the costs of one causal prompt of `length` tokens, computed in one step."""
    return _costs(
        shape,
        precision,
        num_logits=1,
        kv_bytes=count_kv_bytes(shape, precision) * length,
        projections_flop=count_prefill_projections_flop(shape, length),
        attention_flop=count_prefill_attention_flop(shape, length),
    )


def _costs(
    shape: Shape, precision: Precision, *, num_logits: int, kv_bytes: int, projections_flop: int, attention_flop: int
) -> dict[Role, Cost]:
    head = shape.hidden_size * shape.vocab_size
    body_bytes = count_weight_bytes(shape, precision) - head * BF16_BYTES
    return {
        "projections": Cost(body_bytes, projections_flop),
        "attention": Cost(kv_bytes, attention_flop),
        "logits": Cost(head * BF16_BYTES, 2.0 * head * num_logits),
    }
