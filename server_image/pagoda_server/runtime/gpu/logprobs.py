"""Log-probabilities of the rows that ask: the model's own, before anything that sampling does."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor

from pagoda_server.engine.batch import Chunk
from pagoda_server.kernels.logprobs import MAX_TOP, WIDTH, LogprobsScratch, build_logprobs_scratch, rank_logprobs
from pagoda_server.runtime.gpu.readback import copy_back
from pagoda_server.runtime.gpu.staging import Ints
from pagoda_server.wire import PromptLogprobs, TokenLogprobs


@dataclass(frozen=True, slots=True)
class Asked:
    """Who of those that choose in a step asks for log-probabilities, and for how many of the likeliest tokens."""

    places: list[int]
    """Of their logits in the batch."""
    chunks: list[Chunk]
    counts: list[int]

    def pack(self) -> Ints:
        return np.asarray(self.places, np.int32)


def list_asked(chosen: Sequence[Chunk]) -> Asked:
    asked = Asked([], [], [])
    for place, chunk in enumerate(chosen):
        count = chunk.request.sampling.logprobs
        if count is not None:
            asked.places.append(place)
            asked.chunks.append(chunk)
            asked.counts.append(count)
    return asked


@dataclass(frozen=True, slots=True)
class Scored:
    """The tokens of prompts in a step whose log-probabilities are asked for."""

    chunks: list[Chunk]
    """Those that have any, `num_scored` each."""
    num_top: int

    def pack(self, prompts: Sequence[Chunk]) -> list[Ints]:
        """Returns [T] places in the flat batch of the tokens before them, and [T] themselves.

        The batch begins with the tokens of `prompts`, in their order.
        """
        places, tokens, start = list[int](), list[int](), 0
        for chunk in prompts:
            places += range(start, start + chunk.num_scored)
            tokens += chunk.request.token_ids[chunk.start + 1 : chunk.start + 1 + chunk.num_scored]
            start += chunk.num_tokens
        return [np.asarray(places, np.int32), np.asarray(tokens, np.int32)]


def list_scored(prompts: Sequence[Chunk]) -> Scored:
    scored = [chunk for chunk in prompts if chunk.num_scored]
    return Scored(scored, max((chunk.request.sampling.prompt_logprobs or 0 for chunk in scored), default=0))


class DeviceLogprobs:
    def __init__(self, max_rows: int, vocab_size: int, device: torch.device) -> None:
        self._max_top = min(MAX_TOP, vocab_size)
        self._scratch: LogprobsScratch = build_logprobs_scratch(max_rows, vocab_size, device)
        self._out = torch.zeros((max_rows, WIDTH), dtype=torch.int32, device=device)
        self._every = torch.arange(max_rows, dtype=torch.int32, device=device)

    def begin(
        self, asked: Asked, places: Tensor, logits: Tensor, tokens: Tensor
    ) -> Callable[[], Mapping[int, TokenLogprobs]]:
        """Begins to find and to copy them; the function returns them by the chunk's id.

        `places` are those of `asked` on the device, tokens [S] int32 what was chosen by logits [S, vocab].
        """
        if not asked.chunks:
            return dict
        out = self._out[: places.shape[0]]
        self.rank(logits, places, tokens, max(asked.counts), out)
        read_back = copy_back(out)

        def read() -> Mapping[int, TokenLogprobs]:
            rows = read_back()
            chosen = rows[:, 0].contiguous().view(torch.float32).tolist()
            ids, top = rows[:, 1 : 1 + MAX_TOP].tolist(), rows[:, 1 + MAX_TOP :].contiguous().view(torch.float32)
            counts = [min(count, self._max_top) for count in asked.counts]
            return {
                id(chunk): TokenLogprobs(own, list(zip(own_ids[:count], own_top[:count], strict=True)))
                for chunk, count, own, own_ids, own_top in zip(
                    asked.chunks, counts, chosen, ids, top.tolist(), strict=True
                )
            }

        return read

    def rank(self, logits: Tensor, places: Tensor, tokens: Tensor, num_top: int, out: Tensor) -> None:
        """As `rank_logprobs`, with fewer of the likeliest where the vocabulary has no more."""
        rank_logprobs(logits, places, tokens, min(num_top, self._max_top), self._scratch, out)

    def score(
        self, hidden: Tensor, tokens: Tensor, num_top: int, compute: Callable[[Tensor], Tensor], piece: int
    ) -> Tensor:
        """Ranks the log-probabilities of tokens [T] after hidden [T, hidden] → [T, `WIDTH`].

        Of at most `piece` tokens, no more than this has rows, `compute` makes logits at a time.
        """
        out = torch.zeros((tokens.shape[0], WIDTH), dtype=torch.int32, device=tokens.device)
        for start in range(0, tokens.shape[0], piece):
            span = slice(start, start + piece)
            logits = compute(hidden[span])
            self.rank(logits, self._every[: logits.shape[0]], tokens[span], num_top, out[span])
        return out

    def begin_scores(self, scored: Scored, rows: Tensor) -> Callable[[], list[PromptLogprobs]]:
        """Begins to copy rows [T, `WIDTH`] of all `scored`; the function returns what each of its chunks gets."""
        read_back = copy_back(rows)
        ends = list(accumulate(chunk.num_scored for chunk in scored.chunks))

        def read() -> list[PromptLogprobs]:
            found = read_back().numpy()
            return [
                self._pack_scores(chunk, found[end - chunk.num_scored : end])
                for chunk, end in zip(scored.chunks, ends, strict=True)
            ]

        return read

    def _pack_scores(self, chunk: Chunk, rows: Ints) -> PromptLogprobs:
        count = min(chunk.request.sampling.prompt_logprobs or 0, self._max_top)
        return PromptLogprobs(
            start=chunk.start + 1,
            chosen=rows[:, 0].tobytes(),
            top_ids=rows[:, 1 : 1 + count].tobytes(),
            top=rows[:, 1 + MAX_TOP : 1 + MAX_TOP + count].tobytes(),
        )
