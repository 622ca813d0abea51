"""A compiled grammar that follows one request, and the masks of many at a time.

The compiler's own matchers count no stop token and cannot go back behind an error, so both are counted here: an engine
that tries tokens ahead takes any of them back.
"""

import os
from collections.abc import Callable, Sequence

import numpy as np
from llguidance import LLExecutor, LLMatcher

from pagoda_server.engine.constraint import Constraint, Masks
from pagoda_server.grammar.limits import describe_failure
from pagoda_server.grammar.vocabulary import Vocabulary

MAX_THREADS = 8
NOT_ALLOWED = "a token came that the grammar does not allow"


class GrammarConstraint:
    def __init__(
        self, matcher: LLMatcher, vocabulary: Vocabulary, on_failure: Callable[[], None] = lambda: None
    ) -> None:
        """`on_failure` is called when the matcher fails: its copies share what it learned and may fail too."""
        self.matcher = matcher
        self._on_failure = on_failure
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
            self.look_after()
        self._num_behind += 1
        if not is_stop and not self._first_refused:
            self._first_refused = self._num_behind

    def look_after(self) -> None:
        """Tells of a failure of the matcher."""
        if self.matcher.is_error():
            self._on_failure()

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
        self._executor = LLExecutor(num_threads or count_threads())
        self._scratch = np.zeros((0, vocabulary.num_compiled_words), dtype=np.int32)
        self._unknown = int(np.argmin(np.append(vocabulary.known, 0) == -1))
        """The first word with tokens that are never allowed."""

    def __call__(self, constraints: Sequence[Constraint], masks: Masks) -> None:
        live: list[tuple[LLMatcher, int]] = []
        over: list[int] = []
        followed: list[GrammarConstraint] = []
        for row, constraint in enumerate(constraints):
            assert isinstance(constraint, GrammarConstraint)
            if constraint.is_over:
                over.append(row)
            else:
                live.append((constraint.matcher, row))
                followed.append(constraint)
        if live:
            self._fill(live, masks)
            for constraint in followed:
                constraint.look_after()
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


def count_threads() -> int:
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(MAX_THREADS, cpus)
