"""What the device keeps of the running requests: one row each, from admission to end or preemption.

The host mirrors which pages of a row it has sent, so that a step carries only what is new.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pagoda_server.engine.request import Request
from pagoda_server.engine.scheduler import Chunk
from pagoda_server.kernels.sampler import SamplingRows

Ints = NDArray[np.int32]
FLOAT_FIELDS = ("temperature", "top_p", "min_p")


@dataclass(slots=True)
class Row:
    """The host's view of a row. `next_position` is where the token that the device chose last belongs."""

    admission: tuple[str, int] = ("", -1)
    num_pages: int = 0
    next_position: int = -1


@dataclass(frozen=True, slots=True)
class RowUpdate:
    """What a step changes in the state, as int32 arrays for one copy."""

    page_index: Ints
    """[P]: row * max_pages + number of the page in its row."""
    page_ids: Ints
    """[P]"""
    new_rows: Ints
    """[N]: rows that another request has now."""
    sampling: Ints
    """[N, 6]: temperature, top_p, min_p (float32 bits), top_k, seed (low, high)."""


@dataclass(slots=True)
class DeviceState:
    token_pool: Tensor
    """[rows, max_len] int32: tokens, of which only the last is read."""
    lengths: Tensor
    """[rows] int32: tokens known to the device."""
    page_table: Tensor
    """[rows, max_pages] int32."""
    floats: Tensor
    """[3, rows] float32: temperature, top_p, min_p."""
    top_k: Tensor
    """[rows] int32."""
    seeds: Tensor
    """[rows] int64."""
    rows: list[Row] = field(default_factory=list)

    def plan_update(self, chunks: Sequence[Chunk]) -> RowUpdate:
        """Marks what it tells as sent."""
        index: list[int] = []
        pages: list[int] = []
        fresh: list[Request] = []
        width = self.page_table.shape[1]
        for chunk in chunks:
            request = chunk.request
            row = self.rows[request.row]
            if row.admission != (request.request_id, request.num_admissions):
                row.admission, row.num_pages, row.next_position = (request.request_id, request.num_admissions), 0, -1
                fresh.append(request)
            index += range(request.row * width + row.num_pages, request.row * width + len(request.page_ids))
            pages += request.page_ids[row.num_pages :]
            row.num_pages = len(request.page_ids)
        return RowUpdate(
            np.asarray(index, np.int32),
            np.asarray(pages, np.int32),
            np.asarray([request.row for request in fresh], np.int32),
            np.concatenate([build_sampling_row(request) for request in fresh]) if fresh else np.empty(0, np.int32),
        )

    def knows_next_token(self, chunk: Chunk) -> bool:
        """True for a decode: the device itself chose the one token of this chunk, in this admission."""
        row = self.rows[chunk.request.row]
        admission = (chunk.request.request_id, chunk.request.num_admissions)
        return chunk.num_tokens == 1 and row.admission == admission and row.next_position == chunk.start

    def note_sampled(self, chunks: Sequence[Chunk]) -> None:
        for chunk in chunks:
            if chunk.samples:
                self.rows[chunk.request.row].next_position = chunk.end

    def choose_rows(self, rows: Tensor, positions: Tensor) -> SamplingRows:
        """How the rows [S] sample; padding (-1) samples as row 0, for nobody."""
        index = rows.clamp(min=0).long()
        floats = self.floats.index_select(1, index)
        return SamplingRows(
            temperature=floats[0],
            top_p=floats[1],
            min_p=floats[2],
            top_k=self.top_k.index_select(0, index),
            seed=self.seeds.index_select(0, index),
            position=positions,
            flags=torch.zeros_like(rows),
        )

    def apply(self, page_index: Tensor, page_ids: Tensor, new_rows: Tensor, sampling: Tensor) -> None:
        """The update's arrays, on the device."""
        if page_index.numel():
            self.page_table.view(-1).index_copy_(0, page_index.long(), page_ids)
        if new_rows.numel():
            rows, values = new_rows.long(), sampling.view(-1, 6)
            self.floats.index_copy_(1, rows, values[:, :3].clone().view(torch.float32).t())
            self.top_k.index_copy_(0, rows, values[:, 3])
            self.seeds.index_copy_(0, rows, values[:, 4:].clone().view(torch.int64).flatten())


def build_device_state(num_rows: int, max_len: int, page_size: int, device: torch.device) -> DeviceState:
    def zeros(*shape: int, dtype: torch.dtype = torch.int32) -> Tensor:
        return torch.zeros(shape, dtype=dtype, device=device)

    return DeviceState(
        token_pool=zeros(num_rows, max_len + 1),
        lengths=zeros(num_rows),
        page_table=zeros(num_rows, -(-max_len // page_size)),
        floats=zeros(len(FLOAT_FIELDS), num_rows, dtype=torch.float32),
        top_k=zeros(num_rows),
        seeds=zeros(num_rows, dtype=torch.int64),
        rows=[Row() for _ in range(num_rows)],
    )


def build_sampling_row(request: Request) -> Ints:
    """[6] int32, the bits of each value."""
    sampling = request.sampling
    floats = np.asarray([getattr(sampling, name) for name in FLOAT_FIELDS], np.float32).view(np.int32)
    seed = np.asarray([request.seed], np.int64).view(np.int32)
    return np.concatenate([floats, np.asarray([sampling.top_k], np.int32), seed])
