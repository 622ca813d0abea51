"""What runs in the next step. Plain Python: no torch, no clock, no randomness.

Running requests come first in order of arrival (decodes and chunked prefills in one batch), then waiting ones, by
turns (`turns.py`). When pages run out the latest request of whoever holds most is preempted and later recomputed; so it
is, at a bounded rate, when someone waits who holds less than their share. The oldest always advances: every one ends.
"""

from bisect import insort
from collections import Counter
from collections.abc import Sequence
from itertools import islice

from pagoda_server.engine.batch import Chunk, Limits
from pagoda_server.engine.pages import PagePool
from pagoda_server.engine.prefix import PrefixCache
from pagoda_server.engine.request import Request, RequestState
from pagoda_server.engine.turns import Waiting, choose_for_turn, choose_victim
from pagoda_server.wire import FinishReason

STEPS_A_TURN = 4
"""Requests give way to others at most once in so many times the steps that it takes to compute them anew."""
STEPS_OF_TURNOVER = 16
"""After so many steps in which nobody could start: while places come free by themselves turns are taken by those."""
MAX_PASSED = 512
"""Waiting requests that are looked at while a long prompt is under way, for one that is none."""


class Scheduler:
    def __init__(self, limits: Limits, pool: PagePool, prefix: PrefixCache) -> None:
        self.limits = limits
        self.pool = pool
        self.prefix = prefix
        self.running: list[Request] = []
        """In order of arrival."""
        self.waiting = Waiting()
        self.num_preemptions = 0
        self.num_recomputed_tokens = 0
        """Prompt tokens that the prefix cache knew and that were computed again."""
        self._free_rows = list(range(limits.max_num_seqs))
        self._num_arrivals = 0
        self._steps_until_turn = 0

    @property
    def has_work(self) -> bool:
        return bool(self.running or self.waiting)

    def add(self, request: Request) -> None:
        request.arrival = self._num_arrivals
        self._num_arrivals += 1
        self.waiting.add(request)

    def count_startable(self) -> int:
        """Counts the waiting requests, by turns, that have a row and pages for all their tokens beside what runs."""
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
        """Returns chunks of at most `max_batched_tokens` tokens in all, with pages for each. Empty only without work.

        At most `max_prompt_tokens` of them are in chunks of more than one token; by default, as many as there is room
        for beside the running requests that decode, whose places are never taken.
        """
        self._give_turn()
        preemptions_before = self.num_preemptions
        chunks: list[Chunk] = []
        num_decodes = sum(request.is_decoding for request in self.running)
        room = self.limits.max_batched_tokens - num_decodes
        budget = room if max_prompt_tokens is None else min(room, max_prompt_tokens)
        for request in list(self.running):
            pending = request.num_pending_tokens if request.wants_tokens else 0
            num_tokens = pending if pending <= 1 else self._share(pending, budget)
            if num_tokens and self._grow(request, num_tokens):
                chunks.append(_build_chunk(request, num_tokens))
                budget -= num_tokens if pending > 1 else 0
        if self.num_preemptions > preemptions_before:
            return [chunk for chunk in chunks if chunk.request.state is RequestState.RUNNING]
        self._schedule_prompts(chunks, budget)
        return chunks

    def finish(self, request: Request, reason: FinishReason) -> None:
        """Ends a request at any point; its pages go back at once."""
        if request.state is RequestState.RUNNING:
            self.running.remove(request)
            self.waiting.release(request)
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
        costs = Counter[tuple[str, str]]()
        for request in self.running:
            costs[request.tenant, request.group] += request.cost
        assert self.waiting.costs() == costs, "turns are taken by a wrong account of who costs what"

    def _give_turn(self) -> None:
        """Starts the next request in place of others, where it finds no room and they hold more than their share."""
        self._steps_until_turn = max(0, self._steps_until_turn - 1)
        newcomer = self.waiting.peek()
        if newcomer is None or self._steps_until_turn or newcomer.num_in_flight:
            return
        missing = self._count_missing_pages(newcomer)
        if self._free_rows and missing <= 0:
            return
        victims = choose_for_turn(
            self.running, newcomer, lambda chosen: bool(chosen) and self._count_freed_pages(chosen) >= missing
        )
        steps = sum(-(-victim.num_tokens // self.limits.max_batched_tokens) for victim in victims)
        self._steps_until_turn = STEPS_A_TURN * max(1, steps)
        for victim in victims:
            self._preempt(victim)
        if victims:
            self._admit(newcomer)

    def _count_missing_pages(self, request: Request) -> int:
        """Counts the pages that the pool lacks to hold all tokens of the request."""
        pool, pages = self.pool, self.pool.pages_for(request.num_tokens)
        if pool.can_allocate(pages):
            return 0
        owned = sum(pool.references(page_id) > 0 for page_id in self.prefix.match(request).page_ids)
        return pages - owned - pool.num_free - pool.num_cached

    def _count_freed_pages(self, victims: Sequence[Request]) -> int:
        """Counts the pages that come free for certain when these give way."""
        return sum(self.pool.references(page_id) == 1 for victim in victims for page_id in victim.page_ids)

    def _is_long(self, request: Request) -> bool:
        return request.num_pending_tokens > self.limits.max_batched_tokens

    def _share(self, pending: int, budget: int) -> int:
        """Returns a prompt's tokens in this step: a long one leaves half of what it could take to those behind it."""
        return min(pending, -(-budget // 2) if pending > self.limits.max_batched_tokens else budget)

    def _schedule_prompts(self, chunks: list[Chunk], budget: int) -> None:
        """Adds chunks of waiting requests; what these leave goes to the long prompt under way."""
        has_long = any(chunk.num_tokens > 1 and self._is_long(chunk.request) for chunk in chunks)
        while budget and (request := self._find_next(has_long)) and self._admit(request):
            num_tokens = self._share(request.num_pending_tokens, budget)
            if not self._grow(request, num_tokens):
                return
            has_long |= self._is_long(request)
            chunks.append(_build_chunk(request, num_tokens))
            budget -= num_tokens
            self._steps_until_turn = max(self._steps_until_turn, STEPS_OF_TURNOVER)
        if has_long and budget:
            self._extend_long_prompt(chunks, budget)

    def _find_next(self, has_long: bool) -> Request | None:
        """Finds the next by turns, with one long prompt at a time: shorter ones have what it leaves."""
        if not has_long:
            return self.waiting.peek()
        passed: set[tuple[str, str]] = set()
        for request in islice(self.waiting, MAX_PASSED):
            key = request.tenant, request.group
            if key not in passed and not self._is_long(request):
                return request
            passed.add(key)
        return None

    def _extend_long_prompt(self, chunks: list[Chunk], budget: int) -> None:
        """Extends the long prompt's chunk by what nobody behind it took."""
        for index, chunk in enumerate(chunks):
            if chunk.num_tokens > 1 and self._is_long(chunk.request):
                request, num_tokens = chunk.request, min(chunk.request.num_pending_tokens, chunk.num_tokens + budget)
                wanted = self.pool.pages_for(chunk.start + num_tokens) - len(request.page_ids)
                if self.pool.can_allocate(wanted) and self._grow(request, num_tokens):
                    chunks[index] = _build_chunk(request, num_tokens)
                return

    def _admit(self, request: Request) -> bool:
        """Starts the request if it has a row and the pool has pages for all its tokens now."""
        if not self._free_rows or request.num_in_flight:  # its next token is not known yet
            return False
        hit = self.prefix.match(request)
        self.pool.share(hit.page_ids)
        if not self.pool.can_allocate(self.pool.pages_for(request.num_tokens) - len(hit.page_ids)):
            self.pool.release(hit.page_ids)
            return False
        self.waiting.admit(request)
        insort(self.running, request, key=lambda running: running.arrival)
        request.state, request.row = RequestState.RUNNING, self._free_rows.pop()
        request.page_ids, request.page_digests = list(hit.page_ids), list(hit.digests)
        request.num_computed_tokens = len(hit.page_ids) * self.pool.page_size
        request.num_admissions += 1
        self.prefix.use(hit)
        if request.num_admissions == 1:
            self.num_recomputed_tokens += hit.recomputed_tokens
            request.num_cached_tokens = request.num_served_prompt_tokens = request.num_computed_tokens
        return True

    def _grow(self, request: Request, num_tokens: int) -> bool:
        """Gets pages for `num_tokens` more tokens, preempting others if need be; False when it is preempted itself."""
        wanted = self.pool.pages_for(request.num_computed_tokens + num_tokens) - len(request.page_ids)
        while request.state is RequestState.RUNNING:
            if self.pool.can_allocate(wanted):
                request.page_ids += self.pool.allocate(wanted)
                if wanted:  # NB: for most of a batch no step asks for a page
                    self.waiting.grow(request)
                return True
            self._preempt(choose_victim(self.running))
        return False

    def _preempt(self, request: Request) -> None:
        self.running.remove(request)
        self._release(request)
        request.state = RequestState.WAITING
        self.waiting.put_back(request)
        self.num_preemptions += 1

    def _release(self, request: Request) -> None:
        self.pool.release(request.page_ids)
        request.page_ids, request.page_digests, request.num_computed_tokens = [], [], 0
        if request.row >= 0:
            self._free_rows.append(request.row)
            request.row = -1


def _build_chunk(request: Request, num_tokens: int) -> Chunk:
    start = request.num_computed_tokens
    return Chunk(request, start, num_tokens, is_sampled=start + num_tokens == request.num_tokens)
