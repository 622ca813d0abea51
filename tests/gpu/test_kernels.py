"""The kernels on a GPU at the shapes of real models, in bfloat16, against float32 arithmetic on the same inputs."""

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

if not torch.cuda.is_available():  # before the kernels load: they would, without the interpreter the unit tests need
    pytest.skip("needs a CUDA GPU", allow_module_level=True)

from typing import Any

from pagoda_server.kernels.activation import silu_mul
from pagoda_server.kernels.decode_attention import decode_attention
from pagoda_server.kernels.decode_plan import DecodePlan, build_decode_plan, plan_decode
from pagoda_server.kernels.e4m3 import E4M3
from pagoda_server.kernels.norm import add_rms_norm, rms_norm
from pagoda_server.kernels.prefill_attention import Tiles, build_prefill_scratch, prefill_attention
from pagoda_server.kernels.prepare import append_tokens, prepare_decode
from pagoda_server.kernels.rope_write import build_rotary_table, rope_write
from pagoda_server.model import llama
from pagoda_server.runtime.cache import LayerCache
from pagoda_server.runtime.reference.attention import attend_pages

pytestmark = pytest.mark.gpu
DEVICE = torch.device("cuda")
BF16 = torch.bfloat16
PAGE_SIZE = 64
ATTENTION_ERROR = 1e-2
"""Norm of the error over the norm of the result, of each query and head: bfloat16 rounds at 4e-3."""
MODELS = [(32, 8, 128), (16, 8, 128), (8, 8, 64), (64, 8, 128), (14, 2, 64), (12, 4, 96), (16, 1, 256)]
"""Query heads, KV heads, head_dim."""
TILES = [Tiles(128, 64, 8, 3), Tiles(128, 128, 8, 2), Tiles(64, 64, 4, 3), Tiles(64, 32, 4, 3, tma=True)]


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


class Cache:
    """Pages in random order; past each sequence's length, and in pages of none, all is NaN."""

    def __init__(self, lengths: list[int], kv_heads: int, head_dim: int) -> None:
        used = [-(-length // PAGE_SIZE) for length in lengths]
        shape = (sum(used) + 1, PAGE_SIZE, kv_heads, head_dim)
        self.k, self.v = (torch.randn(shape, dtype=BF16, device=DEVICE) for _ in range(2))
        self.page_table = torch.full((len(lengths) + 3, max(used) + 1), 2**30, dtype=torch.int32, device=DEVICE)
        self.rows = torch.randperm(len(lengths) + 3, device=DEVICE)[: len(lengths)].int()
        self.lengths = torch.tensor(lengths, dtype=torch.int32, device=DEVICE)
        order = torch.randperm(sum(used), device=DEVICE) + 1
        self.pages = list(order.split(used))
        for cache in (self.k, self.v):
            cache[0] = torch.nan
        for row, pages, length in zip(self.rows.tolist(), self.pages, lengths, strict=True):
            self.page_table[row, : len(pages)] = pages.int()
            if length % PAGE_SIZE:
                for cache in (self.k, self.v):
                    cache[pages[-1], length % PAGE_SIZE :] = torch.nan

    def attend(self, q: Tensor, counts: list[int]) -> Tensor:
        """In float32, a sequence at a time."""
        outputs = [q.new_empty((0, *q.shape[1:]), dtype=torch.float32)]
        for own, pages, length in zip(q.split(counts), self.pages, self.lengths.tolist(), strict=True):
            if own.shape[0]:
                k, v = (cache[pages].float() for cache in (self.k, self.v))
                own_pages = torch.arange(len(pages), device=DEVICE)
                outputs.append(attend_pages(own.float(), LayerCache(k, v), [own_pages], [own.shape[0]], [length]))
        return torch.cat(outputs)


def measure_error(found: Tensor, expected: Tensor) -> float:
    """The largest of all queries and heads; NaN comes through."""
    return float(((found.float() - expected).norm(dim=-1) / expected.norm(dim=-1)).max())


def build_plan(batch: int, heads: int, kv_heads: int, head_dim: int) -> DecodePlan:
    plan = build_decode_plan(batch, heads, kv_heads, head_dim, PAGE_SIZE, DEVICE)
    plan.partial.fill_(torch.nan)
    plan.partial_lse.fill_(torch.nan)
    return plan


def draw_lengths(batch: int, longest: int) -> list[int]:
    """One of `longest` tokens, one of 1, every seventh a padding entry."""
    lengths = torch.randint(1, min(longest, 2000) + 1, (batch,)).tolist()
    lengths[::7] = [0] * len(lengths[::7])
    lengths[-1] = 1
    lengths[0] = longest
    return lengths


@pytest.mark.parametrize(("heads", "kv_heads", "head_dim"), MODELS)
@pytest.mark.parametrize(("batch", "longest"), [(1, 1), (1, 9000), (3, 256), (17, 4096), (64, 9000), (256, 9000)])
def test_decode_attention(batch: int, longest: int, heads: int, kv_heads: int, head_dim: int) -> None:
    lengths = draw_lengths(batch, longest)
    cache = Cache(lengths, kv_heads, head_dim)
    q = torch.randn((batch, heads, head_dim), dtype=BF16, device=DEVICE)
    plan, out = build_plan(batch, heads, kv_heads, head_dim), torch.full_like(q, 7.0)
    plan_decode(cache.rows, cache.lengths, plan)
    decode_attention(q, cache.k, cache.v, cache.page_table, plan, head_dim**-0.5, out)
    expected = cache.attend(q[cache.lengths > 0], [int(length > 0) for length in lengths])
    assert measure_error(out[cache.lengths > 0], expected) < ATTENTION_ERROR
    assert bool((out[cache.lengths == 0] == 7.0).all()), "a padding entry was written"


@pytest.mark.parametrize("tiles", [None, *TILES])
@pytest.mark.parametrize(("heads", "kv_heads", "head_dim"), MODELS[:6])
def test_prefill_attention(heads: int, kv_heads: int, head_dim: int, tiles: Tiles | None) -> None:
    if tiles and tiles.tma and (head_dim == 96 or torch.cuda.get_device_capability() < (9, 0)):
        pytest.skip("needs a GPU with TMA and a head_dim that is a power of two")
    counts, lengths = [1, 5, 129, 0, 2000, 300, 64, 1], [1328, 18, 463, 50, 2000, 9000, 64, 1]
    cache = Cache(lengths, kv_heads, head_dim)
    starts = [sum(counts[:index]) for index in range(len(counts) + 1)]
    q = torch.randn((starts[-1] + 60, heads, head_dim), dtype=BF16, device=DEVICE)
    out = torch.full_like(q, 7.0)
    cu_seqlens = torch.tensor(starts, dtype=torch.int32, device=DEVICE)
    prefill_attention(
        q, cache.k, cache.v, cache.page_table, cache.rows, cu_seqlens, cache.lengths, head_dim**-0.5, out, tiles=tiles
    )
    expected = cache.attend(q[: starts[-1]], counts)
    for start, end in pairwise(starts):
        if end > start:
            assert measure_error(out[start:end], expected[start:end]) < ATTENTION_ERROR
    assert bool((out[starts[-1] :] == 7.0).all()), "tokens past the batch were written"


PROMPTS_AFTER_CONTEXTS = [
    ([128], [8128]),
    ([1], [9000]),
    ([64], [70]),
    ([3, 0, 17, 100, 1], [4000, 0, 3000, 101, 6000]),
    ([1] * 60, [2000, 9, 700, 1, 64] * 12),
    ([7] * 20, [5000, 600] * 10),
]
"""New tokens and lengths."""


@pytest.mark.parametrize(("counts", "lengths"), PROMPTS_AFTER_CONTEXTS)
@pytest.mark.parametrize("dtype", [BF16, E4M3])
@pytest.mark.parametrize(("heads", "kv_heads", "head_dim"), MODELS)
def test_prefill_attention_whose_tiles_are_split(
    heads: int, kv_heads: int, head_dim: int, dtype: torch.dtype, counts: list[int], lengths: list[int]
) -> None:
    """In a batch of 256 rows, most of nobody; the same bits from a graph, again and again."""
    cache, padding = Cache(lengths, kv_heads, head_dim), 256 - len(counts)
    k, v = cache.k.to(dtype), cache.v.to(dtype)
    cache.k, cache.v = k.to(BF16), v.to(BF16)
    starts = [sum(counts[:index]) for index in range(len(counts) + 1)]
    q = torch.randn((-(-starts[-1] // 64) * 64, heads, head_dim), dtype=BF16, device=DEVICE)
    cu_seqlens = torch.tensor(starts + starts[-1:] * padding, dtype=torch.int32, device=DEVICE)
    rows, contexts = F.pad(cache.rows, (0, padding), value=-1), F.pad(cache.lengths, (0, padding))
    scratch, out = build_prefill_scratch(head_dim, DEVICE), torch.full_like(q, 7.0)
    scratch.partial.fill_(torch.nan)
    scale, paged = head_dim**-0.5, (q, k, v, cache.page_table, rows, cu_seqlens, contexts)
    graph = capture(lambda: prefill_attention(*paged, scale, out, scratch=scratch))
    found = []
    for _ in range(5):
        out[: starts[-1]] = torch.nan
        graph.replay()
        found.append(out.clone())
    expected = cache.attend(q[: starts[-1]], counts)
    assert measure_error(found[0][: starts[-1]], expected) < ATTENTION_ERROR
    assert bool((out[starts[-1] :] == 7.0).all()), "tokens past the batch were written"
    assert all(torch.equal(found[0], one) for one in found[1:])
    assert not scratch.arrived.any()


@pytest.mark.parametrize("attend", ["decode", "prefill"])
def test_attention_in_float32_is_exact_to_1e_5(attend: str) -> None:
    """No tf32: the tolerance of an engine that must give a reference's tokens."""
    lengths = [900, 1, 70]
    cache = Cache(lengths, 2, 64)
    k, v = cache.k.float(), cache.v.float()
    q, scale = torch.randn((3, 8, 64), device=DEVICE), 64**-0.5
    if attend == "decode":
        plan = build_plan(3, 8, 2, 64)
        plan_decode(cache.rows, cache.lengths, plan)
        found = decode_attention(q, k, v, cache.page_table, plan, scale)
    else:
        cu_seqlens = torch.arange(4, dtype=torch.int32, device=DEVICE)
        found = prefill_attention(q, k, v, cache.page_table, cache.rows, cu_seqlens, cache.lengths, scale)
    assert measure_error(found, cache.attend(q, [1, 1, 1])) < 1e-5


def capture(call: Callable[[], object]) -> torch.cuda.CUDAGraph:
    """After one call outside of the graph, in which Triton compiles."""
    call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph


def test_a_captured_step_follows_lengths_and_rows_that_change() -> None:
    """Inputs, rotary, cache write, plan, attention and append in one graph: three steps, each as if run alone."""
    heads, kv_heads, head_dim, batch, capacity = 16, 8, 128, 6, 3000
    num_rows = 8
    page_table = (torch.randperm(num_rows * 47, device=DEVICE)).int().view(num_rows, 47)
    k, v = (torch.randn((num_rows * 47, PAGE_SIZE, kv_heads, head_dim), dtype=BF16, device=DEVICE) for _ in range(2))
    pool = torch.randint(0, 500, (num_rows, capacity), dtype=torch.int32, device=DEVICE)
    lengths = torch.tensor([63, 5, 700, 0, 2900, 64, 1, 128], dtype=torch.int32, device=DEVICE)
    rows = torch.tensor([4, -1, 0, 2, 6, 7], dtype=torch.int32, device=DEVICE)
    ids, positions, slots = (torch.zeros(batch, dtype=torch.int64, device=DEVICE) for _ in range(3))
    contexts, tokens = (torch.zeros(batch, dtype=torch.int32, device=DEVICE) for _ in range(2))
    table = torch.randn((500, (heads + 2 * kv_heads) * head_dim), dtype=BF16, device=DEVICE)
    cos, sin = build_rotary_table(llama.build_inverse_frequencies(head_dim, 1e6, None).to(DEVICE), capacity)
    plan, out = (
        build_plan(batch, heads, kv_heads, head_dim),
        torch.zeros((batch, heads, head_dim), dtype=BF16, device=DEVICE),
    )
    q, first = torch.zeros_like(out), torch.zeros(1, dtype=torch.int32, device=DEVICE)

    def step() -> None:
        prepare_decode(rows, pool, lengths, page_table, PAGE_SIZE, ids, positions, slots, contexts, first)
        rope_write(table[ids], positions, slots, cos, sin, k, v, heads, out=q)
        plan_decode(rows, contexts, plan)
        decode_attention(q, k, v, page_table, plan, head_dim**-0.5, out, first=first)
        append_tokens(tokens, rows, pool, lengths)

    state = [tensor.clone() for tensor in (lengths, pool, k, v)]
    graph = capture(step)
    for tensor, before in zip((lengths, pool, k, v), state, strict=True):
        tensor.copy_(before)
    for turn in range(3):
        tokens.fill_(turn + 20)
        rows[1] = -1 if turn < 2 else 1
        known = lengths.clone()
        graph.replay()
        for entry, row in enumerate(rows.tolist()):
            if row >= 0:
                length = int(known[row])
                assert int(slots[entry]) == int(page_table[row, (length - 1) // 64]) * 64 + (length - 1) % 64
                pages = [page_table[row, : -(-length // 64)].long()]
                expected = attend_pages(
                    q[entry : entry + 1].float(), LayerCache(k.float(), v.float()), pages, [1], [length]
                )
                assert measure_error(out[entry : entry + 1], expected) < ATTENTION_ERROR
                assert int(lengths[row]) == length + 1
                assert int(pool[row, length]) == turn + 20


@pytest.mark.parametrize("tokens", [1, 3, 256, 8192])
@pytest.mark.parametrize("hidden", [1024, 4096, 5120])
def test_norms_round_as_the_model(tokens: int, hidden: int) -> None:
    x, residual = (torch.randn((tokens, hidden), dtype=BF16, device=DEVICE) for _ in range(2))
    weight = torch.randn(hidden, dtype=BF16, device=DEVICE)
    # A sum in another order may round to the neighbour, twice.
    tolerance: dict[str, Any] = {"rtol": 1.6e-2, "atol": 1e-3}
    torch.testing.assert_close(rms_norm(x, weight, 1e-6), llama.rms_norm(x, weight, 1e-6), **tolerance)
    total = residual + x
    normed = add_rms_norm(x, residual, weight, 1e-6)
    assert torch.equal(residual, total)
    torch.testing.assert_close(normed, llama.rms_norm(total, weight, 1e-6), **tolerance)


@pytest.mark.parametrize(("tokens", "size"), [(1, 3072), (256, 14336), (2048, 4864)])
def test_silu_mul_rounds_as_torch(tokens: int, size: int) -> None:
    gate_up = torch.randn((tokens, 2 * size), dtype=BF16, device=DEVICE) * 3
    gate, up = gate_up.chunk(2, dim=-1)
    torch.testing.assert_close(silu_mul(gate_up), F.silu(gate) * up, rtol=1.6e-2, atol=1e-5)


@pytest.mark.parametrize("with_norm", [False, True])
@pytest.mark.parametrize(("heads", "kv_heads", "head_dim"), MODELS)
def test_rope_write(heads: int, kv_heads: int, head_dim: int, with_norm: bool) -> None:
    tokens = 300
    qkv = torch.randn((tokens, (heads + 2 * kv_heads) * head_dim), dtype=BF16, device=DEVICE)
    positions = torch.randint(0, 9000, (tokens,), device=DEVICE)
    slots = torch.randperm(20 * PAGE_SIZE, device=DEVICE)[:tokens]
    slots[5::11] = -1
    active = slots >= 0
    norms = [torch.randn(head_dim, dtype=BF16, device=DEVICE) if with_norm else None for _ in range(2)]
    frequencies = llama.build_inverse_frequencies(head_dim, 5e5, None).to(DEVICE)
    caches = [torch.full((20, PAGE_SIZE, kv_heads, head_dim), 7.0, dtype=BF16, device=DEVICE) for _ in range(2)]
    cos, sin = build_rotary_table(frequencies, 9000)
    out = torch.full((tokens, heads, head_dim), 7.0, dtype=BF16, device=DEVICE)
    rope_write(qkv, positions, slots.int(), cos, sin, caches[0], caches[1], heads, norms[0], norms[1], 1e-6, out)

    q, k, v = qkv.unflatten(1, (-1, head_dim)).split((heads, kv_heads, kv_heads), dim=1)
    if norms[0] is not None and norms[1] is not None:
        q, k = llama.rms_norm(q, norms[0], 1e-6), llama.rms_norm(k, norms[1], 1e-6)
    angles = (positions.float()[:, None] * frequencies).repeat(1, 2)[:, None, :]
    rotary = llama.Rotary(angles.cos(), angles.sin())
    q, k = llama.rotate(q.float(), rotary), llama.rotate(k.float(), rotary)
    stored = [cache.flatten(0, 1)[slots[active]] for cache in caches]
    assert measure_error(out[active], q[active]) < 5e-3
    assert measure_error(stored[0], k[active]) < 5e-3
    assert torch.equal(stored[1], v[active])
    assert bool((out[~active] == 7.0).all())
    assert all(int((cache.flatten(0, 1)[:, 0, 0] != 7.0).sum()) <= int(active.sum()) for cache in caches)
