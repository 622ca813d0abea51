"""What the device keeps of the running requests: one row each, from admission to end or preemption.

The host mirrors which pages of a row it has sent, so that a step carries only what is new.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields

import numpy as np
import torch
from torch import Tensor

from pagoda_server.engine.batch import Chunk
from pagoda_server.engine.request import Request
from pagoda_server.kernels.sampler import SamplingTable
from pagoda_server.runtime.gpu.staging import Ints
from pagoda_server.runtime.history import find_own_logits_end

FLOAT_FIELDS = ("temperature", "top_p", "min_p")


@dataclass(slots=True)
class DeviceRow:
    """The host's view of a row: whose it is, how many of its pages were sent, which token comes next."""

    request: Request | None = None
    num_admissions: int = 0
    num_pages: int = 0
    next_position: int = -1
    """Where the token that the device chose last belongs."""
    own_logits_end: int = 0
    """Before this position tokens are chosen by logits of the request's own. Found once: each step asks."""

    def belongs_to(self, request: Request) -> bool:
        return self.request is request and self.num_admissions == request.num_admissions


@dataclass(frozen=True, slots=True)
class RowUpdate:
    """What a step changes in the state."""

    page_index: list[int]
    """[P]: row * max_pages + number of the page in its row."""
    page_ids: list[int]
    """[P]"""
    new_rows: list[int]
    """[N]: rows that another request has now."""
    sampling: list[Ints]
    """[N] of [6]: temperature, top_p, min_p (float32 bits), top_k, seed (low, high)."""
    pushed_rows: list[int]
    """[M]: rows that decode a token which the host knows and the device does not."""
    pushed_positions: list[int]
    pushed_tokens: list[int]

    def arrays(self) -> list[Ints]:
        """Returns the update as arrays, in the order of the fields."""
        return [np.asarray(getattr(self, field.name), np.int32) for field in fields(self)]


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
    rows: list[DeviceRow] = field(default_factory=list)

    def plan_update(self, chunks: Sequence[Chunk]) -> tuple[RowUpdate, list[Request]]:
        """Returns what the step must tell the device; marks it as sent, and what the step chooses as known.

        And the requests with logits of their own that have a row since this step: `Opening` is what these bring.
        """
        update, opened = RowUpdate([], [], [], [], [], [], []), list[Request]()
        for chunk in chunks:
            row = self.rows[chunk.request.row]
            if not row.belongs_to(chunk.request):
                self._plan_owner(row, chunk.request, update)
                opened += [chunk.request] if row.own_logits_end else []
            self._plan_pages(row, chunk.request, update)
            if is_decode(chunk) and row.next_position != chunk.start:
                update.pushed_rows.append(chunk.request.row)
                update.pushed_positions.append(chunk.start)
                update.pushed_tokens.append(chunk.request.token_ids[chunk.start])
            row.next_position = chunk.end if chunk.is_sampled else -1
        return update, opened

    def _plan_owner(self, row: DeviceRow, request: Request, update: RowUpdate) -> None:
        row.request, row.num_admissions, row.num_pages, row.next_position = request, request.num_admissions, 0, -1
        row.own_logits_end = find_own_logits_end(request)
        update.new_rows.append(request.row)
        update.sampling.append(pack_sampling(request))

    def _plan_pages(self, row: DeviceRow, request: Request, update: RowUpdate) -> None:
        fresh = request.page_ids[row.num_pages :]
        if fresh:
            first = request.row * self.page_table.shape[1] + row.num_pages
            update.page_index.extend(range(first, first + len(fresh)))
            update.page_ids.extend(fresh)
            row.num_pages += len(fresh)

    @property
    def sampling(self) -> SamplingTable:
        temperature, top_p, min_p = self.floats
        return SamplingTable(temperature, self.top_k, top_p, min_p, self.seeds)

    def apply(self, update: Sequence[Tensor]) -> None:
        """Writes an update, its arrays flat on the device, to the state."""
        page_index, page_ids, new_rows, sampling, pushed_rows, positions, tokens = update
        if page_index.numel():
            self.page_table.view(-1).index_copy_(0, page_index.long(), page_ids)
        if new_rows.numel():
            rows, values = new_rows.long(), sampling.view(-1, 6)
            self.floats.index_copy_(1, rows, values[:, :3].clone().view(torch.float32).t())
            self.top_k.index_copy_(0, rows, values[:, 3])
            self.seeds.index_copy_(0, rows, values[:, 4:].clone().view(torch.int64).flatten())
        if pushed_rows.numel():
            rows = pushed_rows.long()
            self.token_pool.index_put_((rows, positions.long()), tokens)
            self.lengths.index_copy_(0, rows, positions + 1)


def is_decode(chunk: Chunk) -> bool:
    return chunk.num_tokens == 1 and chunk.is_sampled


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
        rows=[DeviceRow() for _ in range(num_rows)],
    )


def pack_sampling(request: Request) -> Ints:
    """Returns [6] int32: the bits of temperature, top_p and min_p, then top_k, then the two halves of the seed."""
    sampling = request.sampling
    floats = np.asarray([getattr(sampling, name) for name in FLOAT_FIELDS], np.float32).view(np.int32)
    seed = np.asarray([request.seed], np.int64).view(np.int32)
    return np.concatenate([floats, np.asarray([sampling.top_k], np.int32), seed])
