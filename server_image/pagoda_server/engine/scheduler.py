"""What runs in the next step. Plain Python: no torch, no clock, no randomness.

Running requests come first in order of arrival (decodes and chunked prefills in one batch), then waiting ones, first
come first served. When pages run out the latest arrival is preempted and later recomputed, so the oldest request
always advances and every request ends.
"""

from collections import deque
from dataclasses import dataclass
from itertools import islice

from pagoda_server.engine.pages import PagePool
from pagoda_server.engine.prefix import PrefixCache
from pagoda_server.engine.request import Request, RequestState
from pagoda_server.wire import FinishReason


@dataclass(frozen=True, slots=True)
class Limits:
    max_model_len: int
    max_num_seqs: int
    max_num_batched_tokens: int
    vocab_size: int
    eos_token_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Chunk:
    """`num_tokens` tokens of `request` from position `start`; `samples` when they reach its last token."""

    request: Request
    start: int
    num_tokens: int
    samples: bool

    @property
    def end(self) -> int:
        """Also the position of the token that is chosen, when it samples."""
        return self.start + self.num_tokens


class Scheduler:
    def __init__(self, limits: Limits, pool: PagePool, prefix: PrefixCache) -> None:
        if limits.max_num_batched_tokens < limits.max_num_seqs:
            raise ValueError(
                f"max_num_batched_tokens is {limits.max_num_batched_tokens}, "
                f"below max_num_seqs {limits.max_num_seqs}; raise it"
            )
        self.limits = limits
        self.pool = pool
        self.prefix = prefix
        self.running: list[Request] = []
        """In order of arrival: preemption takes from the end."""
        self.waiting: deque[Request] = deque()
        """In order of arrival, all later than those running."""
        self.num_preemptions = 0
        self._free_rows = list(range(limits.max_num_seqs))

    @property
    def has_work(self) -> bool:
        return bool(self.running or self.waiting)

    def add(self, request: Request) -> None:
        self.waiting.append(request)

    def count_startable(self) -> int:
        """Waiting requests that have a row and pages for all their tokens now, beside what runs."""
        pool = self.pool
        owed = sum(pool.pages_for(request.num_tokens) - len(request.page_ids) for request in self.running)
        pages = pool.num_free + pool.num_cached - owed
        count = 0
        for request in islice(self.waiting, len(self._free_rows)):
            pages -= pool.pages_for(request.num_tokens)
            if pages < 0:
                break
            count += 1
        return count

    def schedule(self, max_prompt_tokens: int | None = None) -> list[Chunk]:
        """Chunks of at most `max_num_batched_tokens` tokens in all, with pages for each. Empty only without work.

        At most `max_prompt_tokens` of them in chunks of more than one token; None: as many as there is room for beside
        the running requests that decode, whose places are never taken.
        """
        preemptions_before = self.num_preemptions
        chunks: list[Chunk] = []
        num_decodes = sum(request.is_decoding for request in self.running)
        room = self.limits.max_num_batched_tokens - num_decodes
        budget = room if max_prompt_tokens is None else min(room, max_prompt_tokens)
        for request in list(self.running):
            pending = request.num_pending_tokens if request.wants_tokens else 0
            num_tokens = pending if pending <= 1 else min(pending, budget)
            if num_tokens and self._grow(request, num_tokens):
                chunks.append(_build_chunk(request, num_tokens))
                budget -= num_tokens if pending > 1 else 0
        if self.num_preemptions == preemptions_before:
            self._schedule_waiting(chunks, budget)
        return chunks

    def finish(self, request: Request, reason: FinishReason) -> None:
        """End a request at any point; its pages go back at once."""
        if request.state is RequestState.RUNNING:
            self.running.remove(request)
        elif request.state is RequestState.WAITING:
            self.waiting.remove(request)
        else:
            return
        self._release(request)
        request.state, request.finish_reason = RequestState.FINISHED, reason

    def check_integrity(self) -> None:
        """Raises AssertionError unless pages are conserved and counted exactly as the running requests hold them."""
        self.pool.check_integrity()
        held: dict[int, int] = {}
        for request in self.running:
            for page_id in request.page_ids:
                held[page_id] = held.get(page_id, 0) + 1
        assert all(self.pool.references(page_id) == count for page_id, count in held.items()), "owners are miscounted"
        assert self.pool.num_owned == len(held), "a page is owned by no running request"
        assert not any(request.page_ids for request in self.waiting), "a waiting request holds pages"
        rows = [*self._free_rows, *(request.row for request in self.running)]
        assert sorted(rows) == list(range(self.limits.max_num_seqs)), "a row is lost or held twice"

    def _schedule_waiting(self, chunks: list[Chunk], budget: int) -> None:
        while self.waiting and budget and len(self.running) < self.limits.max_num_seqs:
            request = self.waiting[0]
            if not self._admit(request):
                return
            num_tokens = min(request.num_pending_tokens, budget)
            if not self._grow(request, num_tokens):
                return
            chunks.append(_build_chunk(request, num_tokens))
            budget -= num_tokens

    def _admit(self, request: Request) -> bool:
        """Start the head of the queue, if the pool has pages for all its tokens now."""
        hit = self.prefix.match(request)
        self.pool.share(hit.page_ids)
        if not self.pool.can_allocate(self.pool.pages_for(request.num_tokens) - len(hit.page_ids)):
            self.pool.release(hit.page_ids)
            return False
        self.waiting.popleft()
        self.running.append(request)
        request.state, request.row = RequestState.RUNNING, self._free_rows.pop()
        request.page_ids, request.page_digests = list(hit.page_ids), list(hit.digests)
        request.num_computed_tokens = len(hit.page_ids) * self.pool.page_size
        request.num_admissions += 1
        if request.num_admissions == 1:
            request.num_cached_tokens = request.num_served_prompt_tokens = request.num_computed_tokens
        return True

    def _grow(self, request: Request, num_tokens: int) -> bool:
        """Pages for `num_tokens` more tokens, preempting later arrivals if need be; False when preempted itself."""
        wanted = self.pool.pages_for(request.num_computed_tokens + num_tokens) - len(request.page_ids)
        while request.state is RequestState.RUNNING:
            if self.pool.can_allocate(wanted):
                request.page_ids += self.pool.allocate(wanted)
                return True
            self._preempt(self.running[-1])
        return False

    def _preempt(self, request: Request) -> None:
        self.running.remove(request)
        self._release(request)
        request.state = RequestState.WAITING
        self.waiting.appendleft(request)
        self.num_preemptions += 1

    def _release(self, request: Request) -> None:
        self.pool.release(request.page_ids)
        request.page_ids, request.page_digests, request.num_computed_tokens = [], [], 0
        if request.row >= 0:
            self._free_rows.append(request.row)
            request.row = -1


def _build_chunk(request: Request, num_tokens: int) -> Chunk:
    start = request.num_computed_tokens
    return Chunk(request, start, num_tokens, samples=start + num_tokens == request.num_tokens)
