"""Attention over the pages of the device's rows: of decodes, cut into equal pieces once per step, and of prompts."""

from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from pagoda_server.kernels.decode_attention import decode_attention
from pagoda_server.kernels.decode_plan import DecodePlan, build_decode_plan, plan_decode
from pagoda_server.kernels.prefill_attention import PrefillScratch, build_prefill_scratch, prefill_attention
from pagoda_server.model.config import ModelConfig
from pagoda_server.runtime.cache import LayerCache
from pagoda_server.runtime.gpu.device_state import DeviceState


class AttendInto(Protocol):
    def __call__(self, q: Tensor, cache: LayerCache, out: Tensor | None = None) -> Tensor:
        """Attends q [T, heads, head_dim] → the same shape, written at some of its tokens; `out` holds it if given."""


@dataclass(frozen=True, slots=True)
class PagedAttention:
    page_table: Tensor
    """[rows, max_pages] int32, the device state's."""
    scale: float
    decode_plan: DecodePlan
    prefill_scratch: PrefillScratch | None
    """None if deterministic: which tiles are split depends on the batch."""
    unit_cu_seqlens: Tensor | None
    """[rows + 1] int32: 0, 1, 2, ... where decodes begin as prompts of one token. None unless deterministic."""

    def plan_decodes(self, rows: Tensor, lengths: Tensor, first: Tensor) -> AttendInto:
        """Returns the attention of decodes that begin at `first` in q; it holds until others are planned."""
        if self.unit_cu_seqlens is not None:
            starts = self.unit_cu_seqlens[: rows.shape[0] + 1] + first
            return partial(self.attend_prompts, rows=rows, cu_seqlens=starts, lengths=lengths)
        plan_decode(rows, lengths, self.decode_plan)
        return partial(self.attend_decodes, batch=rows.shape[0], first=first)

    def attend_decodes(
        self, q: Tensor, cache: LayerCache, out: Tensor | None = None, *, batch: int, first: Tensor
    ) -> Tensor:
        """Attends the `batch` tokens that begin at `first` in q."""
        k, v, k_scale, v_scale = cache
        paged = (q, k, v, self.page_table, self.decode_plan, self.scale, out, k_scale, v_scale)
        return decode_attention(*paged, batch=batch, first=first)

    def attend_prompts(
        self,
        q: Tensor,
        cache: LayerCache,
        out: Tensor | None = None,
        *,
        rows: Tensor,
        cu_seqlens: Tensor,
        lengths: Tensor,
    ) -> Tensor:
        k, v, k_scale, v_scale = cache
        paged = (q, k, v, self.page_table, rows, cu_seqlens, lengths)
        return prefill_attention(*paged, self.scale, out, k_scale, v_scale, scratch=self.prefill_scratch)


def build_attention(config: ModelConfig, state: DeviceState, page_size: int, *, deterministic: bool) -> PagedAttention:
    num_rows, device = state.lengths.shape[0], state.lengths.device
    return PagedAttention(
        page_table=state.page_table,
        scale=config.head_dim**-0.5,
        decode_plan=build_decode_plan(
            num_rows, config.num_heads, config.num_kv_heads, config.head_dim, page_size, device
        ),
        prefill_scratch=None if deterministic else build_prefill_scratch(config.head_dim, device),
        unit_cu_seqlens=torch.arange(num_rows + 1, dtype=torch.int32, device=device) if deterministic else None,
    )
