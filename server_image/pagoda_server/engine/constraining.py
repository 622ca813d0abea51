"""The masks of a step: filled by the constraints of its requests, and held to `min_tokens`."""

import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pagoda_server.engine.batch import Chunk, Limits
from pagoda_server.engine.constraint import Constraint, FillMasks, Masks
from pagoda_server.engine.request import Request, RequestState

log = logging.getLogger(__name__)
WORD_BITS = 32
ALL = -1
"""A word of a mask that allows all of its tokens."""
BROKEN = "the constraint of the answer failed; give a simpler one"


def accept(request: Request, token_id: int) -> str | None:
    """Has the request's constraint follow its new token; returns why it cannot. What it raises is an answer too."""
    constraint = request.constraint
    if constraint is None:
        return None
    try:
        constraint.accept(token_id)
        return None if constraint.error is None else f"the answer's grammar: {constraint.error}"
    except Exception:
        log.exception("a constraint failed to follow a token request=%s", request.request_id)
        return BROKEN


class Constraining:
    def __init__(self, limits: Limits, fill_masks: FillMasks | None) -> None:
        self._vocab_size, self._fill_masks = limits.vocab_size, fill_masks
        self._num_words = -(-limits.vocab_size // WORD_BITS)
        self._masks = np.zeros((limits.max_num_seqs, self._num_words), np.int32)

    def fill(self, chunks: Sequence[Chunk]) -> tuple[Masks, list[Request]]:
        """Returns a mask for each constrained request that samples, in the order of the chunks; valid until the next.

        All of their tokens before the one that is chosen are known. One that has ended meanwhile may have any: nobody
        hears of it. So may those whose constraint failed, which are returned too.
        """
        constrained = [chunk for chunk in chunks if chunk.is_sampled and chunk.request.is_constrained]
        masks = self._masks[: len(constrained)]
        masks.fill(ALL)
        going = [
            (row, chunk)
            for row, chunk in enumerate(constrained)
            if chunk.request.state is not RequestState.FINISHED and chunk.request.constraint is not None
        ]
        failed = self._fill(going)
        for row, chunk in going:
            if chunk.request not in failed:
                self._hold_stop_back(masks[row], chunk)
        return masks, failed

    def _fill(self, going: Sequence[tuple[int, Chunk]]) -> list[Request]:
        """Fills the masks of these rows; returns those that could not be filled."""
        if not going:
            return []
        filled = np.zeros((len(going), self._num_words), np.int32)
        constraints = [chunk.request.constraint for _, chunk in going if chunk.request.constraint is not None]
        try:
            self._call(constraints, filled)
        except Exception:
            return self._fill_each(going)
        self._masks[[row for row, _ in going]] = filled
        return []

    def _fill_each(self, going: Sequence[tuple[int, Chunk]]) -> list[Request]:
        """Fills one after another, to find whose constraint it is that fails."""
        failed: list[Request] = []
        for row, chunk in going:
            mask = np.zeros((1, self._num_words), np.int32)
            try:
                self._call([chunk.request.constraint] if chunk.request.constraint is not None else [], mask)
                self._masks[row] = mask[0]
            except Exception:
                log.exception("a constraint failed to fill its mask request=%s", chunk.request.request_id)
                failed.append(chunk.request)
        return failed

    def _call(self, constraints: Sequence[Constraint], masks: Masks) -> None:
        assert self._fill_masks is not None, "a request is constrained and nothing fills its masks"
        self._fill_masks(constraints, masks)

    def _hold_stop_back(self, mask: NDArray[np.int32], chunk: Chunk) -> None:
        """Takes the stop tokens out of a mask while `min_tokens` holds them back, unless it allows nothing else."""
        request = chunk.request
        if chunk.end - request.num_prompt_tokens >= request.sampling.min_tokens:
            return
        past_all = range(self._vocab_size, self._num_words * WORD_BITS)
        stops = [token_id for token_id in request.stop_token_ids if 0 <= token_id < self._vocab_size]
        held = mask & ~_pack([*stops, *past_all], self._num_words)
        if held.any():
            mask[:] = held


def _pack(token_ids: Sequence[int], num_words: int) -> NDArray[np.int32]:
    """Returns a mask of these tokens."""
    bits = np.zeros(num_words * WORD_BITS, np.bool_)
    bits[list(token_ids)] = True
    return np.packbits(bits, bitorder="little").view(np.int32)
