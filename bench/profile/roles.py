"""What a GPU kernel of a step is for, told by its name and its place. Pure: no torch.

NB: cuBLAS's names do not say which product they compute: the one between the last norm and the sampler is the logits'.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import get_args

from bench.work.costs import Role

ROLES: tuple[Role, ...] = get_args(Role)

PATTERNS: tuple[tuple[Role, tuple[str, ...]], ...] = (
    ("attention", ("_decode_kernel", "_plan_kernel", "_prefill_kernel", "flash", "fmha")),
    ("norm, rope, activation", ("_norm_kernel", "_rope_kernel", "_silu_mul", "_quantize_kernel")),
    (
        "sampler",
        ("_scan_kernel", "choose_kernel", "_adjust_kernel", "_settle_kernel", "_measure_kernel", "_rank_kernel"),
    ),
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


def find_role(name: str) -> Role:
    lowered = name.lower()
    return next((role for role, parts in PATTERNS if any(part in lowered for part in parts)), "other")


def assign_roles(events: Sequence[KernelEvent]) -> list[Role]:
    """Returns one per event; events come in the order of their start."""
    roles = [find_role(event.name) for event in events]
    for index, role in enumerate(roles):
        if role == "sampler":
            for before in _products_before(roles, index):
                roles[before] = "logits"
    return roles


def _products_before(roles: Sequence[Role], index: int) -> Iterator[int]:
    """Yields products back to the nearest norm or sampler kernel."""
    for before in range(index - 1, -1, -1):
        if roles[before] in ("norm, rope, activation", "sampler"):
            return
        if roles[before] == "projections":
            yield before


def shorten(name: str, length: int = 44) -> str:
    """Drops template arguments, namespaces and the return type."""
    bare = name.replace("(anonymous namespace)::", "").split("<")[0].split("(")[0].strip()
    bare = bare.removeprefix("void ").split("::")[-1] or name
    if "elementwise" in bare and "<" in name:
        bare = f"{bare} {name.split('<', 1)[1]}"
    return bare if len(bare) <= length else f"{bare[: length - 1]}…"
