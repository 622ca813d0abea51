"""A compiled grammar that follows one request, and the masks of many at a time.

The compiler's own matchers count no stop token and cannot go back behind an error, so both are counted here: an engine
that tries tokens ahead takes any of them back.
"""

import os
from collections.abc import Sequence

import numpy as np
from llguidance import LLExecutor, LLMatcher

from pagoda_server.engine.constraint import Constraint, Masks
from pagoda_server.grammar.limits import describe_failure
from pagoda_server.grammar.vocabulary import Vocabulary

MAX_THREADS = 8
NOT_ALLOWED = "a token came that the grammar does not allow"


class GrammarConstraint:
    def __init__(self, matcher: LLMatcher, vocabulary: Vocabulary) -> None:
        self.matcher = matcher
        self._stops = vocabulary.stop_token_ids
        self._num_behind = 0
        """Tokens behind the answer's end, or from one on that was not allowed: the matcher knows none of them."""
        self._first_refused = 0
        """Which of those was not allowed, from 1 on; 0: none."""

    @property
    def error(self) -> str | None:
        if self.matcher.is_error():
            return describe_failure(self.matcher.get_error())
        return NOT_ALLOWED if self._first_refused else None

    @property
    def is_over(self) -> bool:
        """Returns whether only stop tokens may follow, whatever the matcher says."""
        return self._num_behind > 0

    def accept(self, token_id: int) -> None:
        is_stop = token_id in self._stops
        if not self._num_behind and not (is_stop and self.matcher.is_accepting()):
            if self.matcher.try_consume_tokens([token_id]):
                return
            is_stop = False
        self._num_behind += 1
        if not is_stop and not self._first_refused:
            self._first_refused = self._num_behind

    def rollback(self, num_tokens: int) -> None:
        behind = min(num_tokens, self._num_behind)
        self._num_behind -= behind
        if self._num_behind < self._first_refused:
            self._first_refused = 0
        if num_tokens > behind:
            self.matcher.rollback(num_tokens - behind)


class MaskFiller:
    """Fills rows in threads of its own, without Python's lock; the caller waits for all of them."""

    def __init__(self, vocabulary: Vocabulary, num_threads: int | None = None) -> None:
        self._vocabulary = vocabulary
        self._executor = LLExecutor(num_threads or max(1, min(MAX_THREADS, len(os.sched_getaffinity(0)))))
        self._scratch = np.zeros((0, vocabulary.num_compiled_words), dtype=np.int32)
        self._unknown = int(np.argmin(np.append(vocabulary.known, 0) == -1))
        """The first word with tokens that are never allowed."""

    def __call__(self, constraints: Sequence[Constraint], masks: Masks) -> None:
        live: list[tuple[LLMatcher, int]] = []
        over: list[int] = []
        for row, constraint in enumerate(constraints):
            assert isinstance(constraint, GrammarConstraint)
            if constraint.is_over:
                over.append(row)
            else:
                live.append((constraint.matcher, row))
        if live:
            self._fill(live, masks)
            masks[: len(constraints), self._unknown :] &= self._vocabulary.known[self._unknown :]
        for row in over:
            masks[row] = self._vocabulary.stops

    def _fill(self, live: Sequence[tuple[LLMatcher, int]], masks: Masks) -> None:
        own = self._vocabulary
        if masks.flags.c_contiguous and masks.shape[1] == own.num_compiled_words:
            self._compute(live, masks)
            return
        if len(self._scratch) < len(masks):
            self._scratch = np.zeros((len(masks), own.num_compiled_words), dtype=np.int32)
        self._compute(live, self._scratch)
        for _, row in live:
            masks[row] = self._scratch[row, : own.num_words]

    def _compute(self, live: Sequence[tuple[LLMatcher, int]], masks: Masks) -> None:
        self._executor.unsafe_compute_mask_ptr(
            list(live), masks.ctypes.data, masks.shape[1] * masks.itemsize, masks.shape[0]
        )
