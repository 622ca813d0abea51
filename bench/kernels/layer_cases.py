"""What a layer does beside products and attention: norms, sums over GPUs, activations, rope and writing the cache."""

from collections.abc import Iterator
from functools import partial

import torch

from bench.kernels.case import BF16, DEVICE, MODELS, PAGE_SIZE, Call, Case, find_heads, place
from pagoda_server.kernels.activation import silu_mul
from pagoda_server.kernels.norm import add_rms_norm, rms_norm
from pagoda_server.kernels.rope_write import build_rotary_table, rope_write
from pagoda_server.kernels.sum_norm import MAX_TOKENS, Exchange, count_bytes, count_signal_bytes, sum_rms_norm
from pagoda_server.start.common_shapes import COMMON_SHAPES


def list_layers() -> Iterator[Case]:
    heads, kv_heads, head_dim = find_heads("8B")
    shape, width = COMMON_SHAPES[MODELS["8B"]], (heads + 2 * kv_heads) * head_dim
    hidden, size = shape.hidden_size, shape.intermediate_size
    for tokens in (1, 256, 8192):
        yield Case("norm", f"{tokens} x {hidden}", 4 * tokens * hidden, 0, partial(build_norm, tokens, hidden, False))
        yield Case(
            "add+norm", f"{tokens} x {hidden}", 8 * tokens * hidden, 0, partial(build_norm, tokens, hidden, True)
        )
        if tokens <= MAX_TOKENS:
            for ranks in (2, 8):
                moved, build = 2 * (ranks + 3) * tokens * hidden, partial(build_sum_norm, tokens, hidden, ranks)
                yield Case("sum+norm", f"{tokens} x {hidden}, {ranks} ranks in one memory", moved, 0, build)
        yield Case("silu*up", f"{tokens} x {size}", 6 * tokens * size, 0, partial(build_silu, tokens, size))
        yield Case("rope+write", f"{tokens} x {width}", 4 * tokens * width, 0, partial(build_rope, tokens, False))
        yield Case("rope+write", f"{tokens}, q/k norm", 4 * tokens * width, 0, partial(build_rope, tokens, True))


def build_norm(tokens: int, hidden: int, add: bool) -> Call:
    x, residual, out = (torch.randn((tokens, hidden), dtype=BF16, device=DEVICE) for _ in range(3))
    weight = torch.ones(hidden, dtype=BF16, device=DEVICE)
    if add:
        return lambda: add_rms_norm(x, residual, weight, 1e-6, out)
    return lambda: rms_norm(x, weight, 1e-6, out)


def build_sum_norm(tokens: int, hidden: int, ranks: int) -> Call:
    """Returns the sum alone: all shares are in this GPU's memory, and the other ranks have long been here."""
    share_bytes = 2 * tokens * hidden
    memory = torch.zeros((ranks, count_bytes(ranks, share_bytes)), dtype=torch.uint8, device=DEVICE)
    addresses = [one.data_ptr() for one in memory]
    memory[0, : count_signal_bytes(ranks)].view(torch.int64).view(-1, ranks)[:, 1:] = 1 << 40
    shares = Exchange(memory[0], addresses, rank=0).shares(torch.empty((tokens, hidden), dtype=BF16, device=DEVICE), 0)
    assert shares is not None
    residual, weight = (torch.randn(shape, dtype=BF16, device=DEVICE) for shape in ((tokens, hidden), (hidden,)))
    return lambda: sum_rms_norm(shares, residual, weight, 1e-6)


def build_silu(tokens: int, size: int) -> Call:
    gate_up = torch.randn((tokens, 2 * size), dtype=BF16, device=DEVICE)
    out = gate_up.new_empty((tokens, size))
    return lambda: silu_mul(gate_up, out)


def build_rope(tokens: int, with_norm: bool) -> Call:
    heads, kv_heads, head_dim = find_heads("8B")
    num_pages = tokens // PAGE_SIZE + 1
    qkv = torch.randn((tokens, (heads + 2 * kv_heads) * head_dim), dtype=BF16, device=DEVICE)
    k, v = (torch.zeros((num_pages, PAGE_SIZE, kv_heads, head_dim), dtype=BF16, device=DEVICE) for _ in range(2))
    cos, sin = build_rotary_table(torch.rand(head_dim // 2, device=DEVICE), 8192)
    positions, slots = place(range(tokens)), torch.randperm(num_pages * PAGE_SIZE, device=DEVICE)[:tokens].int()
    weight = torch.ones(head_dim, dtype=BF16, device=DEVICE) if with_norm else None
    out = qkv.new_empty((tokens, heads, head_dim))
    return lambda: rope_write(qkv, positions, slots, cos, sin, k, v, heads, weight, weight, 1e-6, out)
