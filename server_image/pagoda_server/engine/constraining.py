"""The masks of a step: filled by the constraints of its requests, and held to `min_tokens`."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pagoda_server.engine.batch import Chunk, Limits
from pagoda_server.engine.constraint import Constraint, FillMasks, Masks
from pagoda_server.engine.request import Request, RequestState

WORD_BITS = 32
ALL = -1
"""A word of a mask that allows all of its tokens."""


class Constraining:
    def __init__(self, limits: Limits, fill_masks: FillMasks | None) -> None:
        self._vocab_size, self._fill_masks = limits.vocab_size, fill_masks
        num_words = -(-limits.vocab_size // WORD_BITS)
        self._masks = np.zeros((limits.max_num_seqs, num_words), np.int32)

    def fill(self, chunks: Sequence[Chunk]) -> Masks:
        """Returns a mask for each constrained request that samples, in the order of the chunks; valid until the next.

        All of their tokens before the one that is chosen are known. One that has ended meanwhile may have any: nobody
        hears of it.
        """
        constrained = [chunk for chunk in chunks if chunk.is_sampled and chunk.request.is_constrained]
        masks = self._masks[: len(constrained)]
        masks.fill(ALL)
        going = [
            (row, chunk.request.constraint, chunk)
            for row, chunk in enumerate(constrained)
            if chunk.request.state is not RequestState.FINISHED and chunk.request.constraint is not None
        ]
        if going:
            self._fill([row for row, _, _ in going], [constraint for _, constraint, _ in going])
        for row, _, chunk in going:
            self._hold_stop_back(masks[row], chunk)
        return masks

    def _fill(self, rows: Sequence[int], constraints: Sequence[Constraint]) -> None:
        assert self._fill_masks is not None, "a request is constrained and nothing fills its masks"
        if len(rows) == rows[-1] + 1:
            self._fill_masks(constraints, self._masks[: len(rows)])
            return
        filled = np.zeros((len(rows), self._masks.shape[1]), np.int32)
        self._fill_masks(constraints, filled)
        self._masks[rows] = filled

    def _hold_stop_back(self, mask: NDArray[np.int32], chunk: Chunk) -> None:
        """Takes the stop tokens out of a mask while `min_tokens` holds them back, unless it allows nothing else."""
        request = chunk.request
        if chunk.end - request.num_prompt_tokens >= request.sampling.min_tokens:
            return
        past_all = range(self._vocab_size, mask.shape[0] * WORD_BITS)
        held = mask & ~_pack([*self._list_stops(request), *past_all], mask.shape[0])
        if held.any():
            mask[:] = held

    def _list_stops(self, request: Request) -> list[int]:
        return [token_id for token_id in request.stop_token_ids if 0 <= token_id < self._vocab_size]


def _pack(token_ids: Sequence[int], num_words: int) -> NDArray[np.int32]:
    """Returns a mask of these tokens."""
    bits = np.zeros(num_words * WORD_BITS, np.bool_)
    bits[list(token_ids)] = True
    return np.packbits(bits, bitorder="little").view(np.int32)
