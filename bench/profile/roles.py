"""What a GPU kernel of a step is for, told by its name and its place. Pure: no torch.

NB: cuBLAS's names do not say which product they compute: the one between the last norm and the sampler is the logits'.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

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
ROLES: tuple[Role, ...] = get_args(Role)

PATTERNS: tuple[tuple[Role, tuple[str, ...]], ...] = (
    ("attention", ("_decode_kernel", "_plan_kernel", "_prefill_kernel", "flash", "fmha")),
    ("norm, rope, activation", ("_norm_kernel", "_rope_kernel", "_silu_mul", "_quantize_kernel")),
    ("sampler", ("_scan_kernel", "choose_kernel", "_adjust_kernel", "softmax", "topk")),
    (
        "projections",
        ("_gemv_kernel", "_linear_kernel", "_invariant_kernel", "gemm", "gemv", "nvjet", "cutlass", "splitk", "xmma"),
    ),
    (
        "copies",
        (
            "_prepare_kernel",
            "_length_kernel",
            "_append_kernel",
            "memcpy",
            "memset",
            "copy",
            "gather",
            "index",
            "catarray",
            "elementwise",
        )
        + ("fillfunctor", "embedding"),
    ),
)
"""The first that matches counts. Lower-case parts of names; those with an underscore in front are our own kernels."""


@dataclass(frozen=True, slots=True)
class KernelEvent:
    """One kernel, copy or fill on the GPU."""

    name: str
    start_us: float
    end_us: float


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one step, at least."""

    num_bytes: float
    flop: float

    def __truediv__(self, count: int) -> "Cost":
        return Cost(self.num_bytes / count, self.flop / count)


def find_role(name: str) -> Role:
    lowered = name.lower()
    return next((role for role, parts in PATTERNS if any(part in lowered for part in parts)), "other")


def assign_roles(events: Sequence[KernelEvent]) -> list[Role]:
    """One for each event; events in the order of their start."""
    roles = [find_role(event.name) for event in events]
    for index, role in enumerate(roles):
        if role == "sampler":
            for before in _products_before(roles, index):
                roles[before] = "logits"
    return roles


def _products_before(roles: Sequence[Role], index: int) -> Iterator[int]:
    """Back to the norm, or the sampler kernel, that is nearest."""
    for before in range(index - 1, -1, -1):
        if roles[before] in ("norm, rope, activation", "sampler"):
            return
        if roles[before] == "projections":
            yield before


def shorten(name: str, length: int = 44) -> str:
    """Without template arguments, namespaces and the return type."""
    bare = name.replace("(anonymous namespace)::", "").split("<")[0].split("(")[0].strip()
    bare = bare.removeprefix("void ").split("::")[-1] or name
    if "elementwise" in bare and "<" in name:
        bare = f"{bare} {name.split('<', 1)[1]}"
    return bare if len(bare) <= length else f"{bare[: length - 1]}…"


def compute_decode_costs(shape: Shape, precision: Precision, batch: int, context: int) -> dict[Role, Cost]:
    """Of one step of `batch` sequences that each read `context` tokens."""
    return _costs(
        shape,
        precision,
        num_logits=batch,
        kv_bytes=count_kv_bytes(shape, precision) * batch * context,
        projections_flop=2 * count_body_parameters(shape) * batch,
        attention_flop=4 * shape.num_layers * shape.num_heads * shape.head_dim * batch * context,
    )


def compute_prefill_costs(shape: Shape, precision: Precision, length: int) -> dict[Role, Cost]:
    """Of one causal prompt of `length` tokens, computed in one step."""
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
