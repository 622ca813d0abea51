"""The reference runner: owns the KV tensors and turns a schedule into one flat mixed batch, in plain torch.

It runs anywhere and is what faster runners are checked against. It decides nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pagoda_server.engine.batch import Chunk
from pagoda_server.engine.constraint import Masks
from pagoda_server.engine.runner import PendingStep, Sampled
from pagoda_server.model.llama import Llama
from pagoda_server.runtime.cache import build_caches
from pagoda_server.runtime.reference.attention import attend_pages, write_pages
from pagoda_server.runtime.reference.sampler import build_sampling_row, sample_rows, score_tokens
from pagoda_server.wire import PromptLogprobs

MAX_SCORED = 256
"""Tokens of a prompt that are scored together: each has a row of logits."""


@dataclass(frozen=True, slots=True)
class Batch:
    """T tokens of B sequences, flat; S of the sequences sample."""

    input_ids: Tensor
    """[T] int64."""
    positions: Tensor
    """[T] int64."""
    slots: Tensor
    """[T] int64: page * page_size + offset, where each token's keys and values go."""
    page_tables: list[Tensor]
    """B tensors of int64 pages."""
    cu_seqlens: list[int]
    """[B + 1]: where each sequence's tokens start in the flat batch."""
    context_lengths: list[int]
    """[B] tokens, those of this batch included."""
    sample_indices: Tensor
    """[S] int64: the sampling sequences' last tokens in the flat batch."""

    @property
    def query_lengths(self) -> list[int]:
        return [end - start for start, end in zip(self.cu_seqlens, self.cu_seqlens[1:], strict=False)]


def build_batch(chunks: Sequence[Chunk], page_size: int, device: torch.device) -> Batch:
    input_ids: list[int] = []
    positions: list[int] = []
    slots: list[int] = []
    cu_seqlens = [0]
    for chunk in chunks:
        pages, span = chunk.request.page_ids, range(chunk.start, chunk.end)
        input_ids += chunk.request.token_ids[span.start : span.stop]
        positions += span
        slots += [pages[position // page_size] * page_size + position % page_size for position in span]
        cu_seqlens.append(len(input_ids))
    sample_indices = [end - 1 for chunk, end in zip(chunks, cu_seqlens[1:], strict=True) if chunk.is_sampled]

    def place(values: list[int]) -> Tensor:
        return torch.tensor(values, dtype=torch.int64, device=device)

    return Batch(
        input_ids=place(input_ids),
        positions=place(positions),
        slots=place(slots),
        page_tables=[place(chunk.request.page_ids) for chunk in chunks],
        cu_seqlens=cu_seqlens,
        context_lengths=[chunk.end for chunk in chunks],
        sample_indices=place(sample_indices),
    )


class ReferenceRunner:
    """Implements `pagoda_server.engine.runner.Runner`, one step at a time."""

    def __init__(self, model: Llama, num_pages: int, page_size: int, kv_dtype: torch.dtype | None = None) -> None:
        """Takes the KV tensors' `kv_dtype`, by default the activations'."""
        self.model = model
        self.page_size = page_size
        self.device = model.embedding.device
        self.caches = build_caches(model, num_pages, page_size, kv_dtype or model.embedding.dtype)

    @torch.inference_mode()
    def forward(self, chunks: Sequence[Chunk]) -> tuple[Tensor, list[PromptLogprobs]]:
        """Returns the logits [S, vocab] float32 of those that sample, and what prompts are scored with, in order."""
        batch = build_batch(chunks, self.page_size, self.device)
        hidden = self.compute_hidden(batch)
        scores = [
            self._score(chunk, hidden[start : start + chunk.num_scored])
            for chunk, start in zip(chunks, batch.cu_seqlens, strict=False)
            if chunk.num_scored
        ]
        return self.model.compute_logits(hidden[batch.sample_indices]).float(), scores

    def _score(self, chunk: Chunk, hidden: Tensor) -> PromptLogprobs:
        """Scores the tokens of a prompt that follow those of hidden [T, hidden]."""
        start = chunk.start + 1
        tokens = torch.tensor(chunk.request.token_ids[start : start + chunk.num_scored])
        num_top = chunk.request.sampling.prompt_logprobs or 0
        parts = [
            score_tokens(self.model.compute_logits(rows).float(), wanted, num_top)
            for rows, wanted in zip(torch.split(hidden, MAX_SCORED), torch.split(tokens, MAX_SCORED), strict=True)
        ]
        chosen, ids, top = (torch.cat(part).cpu().numpy().tobytes() for part in zip(*parts, strict=True))
        return PromptLogprobs(start, chosen, ids, top)

    @torch.inference_mode()
    def compute_hidden(self, batch: Batch) -> Tensor:
        """Returns [T, hidden] after the last norm."""
        query_lengths = batch.query_lengths

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            cache = self.caches[layer]
            write_pages(cache.k, k, batch.slots, cache.k_scale)
            write_pages(cache.v, v, batch.slots, cache.v_scale)
            return attend_pages(q, cache, batch.page_tables, query_lengths, batch.context_lengths)

        hidden: Tensor = self.model(batch.input_ids, batch.positions, attend)
        return hidden

    def launch(self, chunks: Sequence[Chunk]) -> PendingStep:
        rows = [build_sampling_row(chunk.request) for chunk in chunks if chunk.is_sampled]
        (logits, scores), sampled = self.forward(chunks), list[Sampled]()

        def constrain(masks: Masks | None) -> None:
            sampled.extend(sample_rows(logits, rows, masks))

        if any(row.is_constrained for row in rows):
            return PendingStep(lambda: sampled, constrain=constrain, scores=lambda: scores)
        constrain(None)
        return PendingStep(lambda: sampled, scores=lambda: scores)

    def prepare_next(self, *, idle: bool = True) -> bool:
        return False
