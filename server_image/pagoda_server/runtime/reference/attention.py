"""Reference attention over KV pages: gather, then torch's scaled dot product.

Slow and plain; kernels are checked against it.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from pagoda_server.kernels.e4m3 import E4M3
from pagoda_server.quant.fp8 import saturate
from pagoda_server.runtime.cache import LayerCache


def write_pages(cache: Tensor, values: Tensor, slots: Tensor, scale: float = 1.0) -> None:
    """Writes values [T, kv_heads, head_dim] to slots [T] int64 = page * page_size + offset.

    cache [pages, page_size, kv_heads, head_dim] of the values' dtype, or e4m3: then it holds values / scale.
    """
    if cache.dtype == E4M3:  # torch moves bytes on every device, e4m3 not
        cache, values = cache.view(torch.uint8), saturate(values.float() / scale).view(torch.uint8)
    cache.flatten(0, 1).index_copy_(0, slots, values)


def attend_pages(
    q: Tensor,
    cache: LayerCache,
    page_tables: Sequence[Tensor],
    query_lengths: Sequence[int],
    context_lengths: Sequence[int],
) -> Tensor:
    """Attends a flat mixed batch causally, after its keys and values were written.

    q [T, heads, head_dim], sequences one after another; `page_tables[i]` int64 pages of sequence i; its
    `query_lengths[i]` queries are the last of its `context_lengths[i]` tokens. Returns [T, heads, head_dim].
    """
    outputs, start = [], 0
    for pages, num_queries, num_context in zip(page_tables, query_lengths, context_lengths, strict=True):
        k = _read_pages(cache.k, pages, cache.k_scale, q.dtype)[:num_context]
        v = _read_pages(cache.v, pages, cache.v_scale, q.dtype)[:num_context]
        outputs.append(_attend_one(q[start : start + num_queries], k, v))
        start += num_queries
    return torch.cat(outputs)


def _read_pages(cache: Tensor, pages: Tensor, scale: float, dtype: torch.dtype) -> Tensor:
    """Returns the pages' [tokens, kv_heads, head_dim] in `dtype`."""
    held = cache[pages].flatten(0, 1)
    return held if held.dtype != E4M3 else (held.float() * scale).to(dtype)


def _attend_one(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attends q [N, heads, head_dim] to k and v [C, kv_heads, head_dim], the queries at the context's end."""
    num_queries, num_context = q.shape[0], k.shape[0]
    groups = q.shape[1] // k.shape[1]
    q, k, v = (x.transpose(0, 1)[None] for x in (q, k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)))
    mask = None
    if num_queries > 1:
        last_visible = torch.arange(num_context - num_queries, num_context, device=q.device)
        mask = torch.arange(num_context, device=q.device)[None, :] <= last_visible[:, None]
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)[0].transpose(0, 1)
