"""The engine: `schedule → forward → sample → commit`, once a step. Never blocks, never touches a socket or a tensor."""

import random
import time
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

from pagoda_server.engine.admission import find_rejection
from pagoda_server.engine.capacity import Capacity
from pagoda_server.engine.pages import PagePool
from pagoda_server.engine.prefix import PrefixCache
from pagoda_server.engine.request import Request, RequestState
from pagoda_server.engine.scheduler import Chunk, Limits, Scheduler
from pagoda_server.engine.served import AnswerLength, ServedWindow, count_backlog_tokens
from pagoda_server.wire import Delta, FinishReason, Rejected, Stats, Submit, TokenLogprobs

LogitsT = TypeVar("LogitsT")
Sampled = tuple[int, TokenLogprobs | None]


class Runner(Protocol[LogitsT]):
    """What the engine needs of a device. The real one is `pagoda_server.runtime.runner.ModelRunner`."""

    def forward(self, chunks: Sequence[Chunk]) -> LogitsT:
        """Write keys and values of every chunk to its pages; logits of each sampling chunk's last token."""
        ...

    def sample(self, chunks: Sequence[Chunk], logits: LogitsT) -> list[Sampled]:
        """The next token of each sampling chunk, in their order."""
        ...


class Engine(Generic[LogitsT]):
    def __init__(
        self,
        runner: Runner[LogitsT],
        limits: Limits,
        pool: PagePool,
        *,
        prefix_caching: bool = True,
        clock: Callable[[], float] = time.monotonic,
        draw_seed: Callable[[], int] = lambda: random.getrandbits(62),
        capacity_tokens_per_second: float | None = None,
    ) -> None:
        self.runner = runner
        self.scheduler = Scheduler(limits, pool, PrefixCache(pool, enabled=prefix_caching))
        self._limits = limits
        self._draw_seed = draw_seed
        self._requests: dict[str, Request] = {}
        self._served = ServedWindow(clock)
        self._capacity = Capacity(clock, measured=capacity_tokens_per_second)
        self._answers = AnswerLength()
        self._prompt_tokens = self._cached_prompt_tokens = self._generation_tokens = self._steps = 0

    @property
    def has_work(self) -> bool:
        return self.scheduler.has_work

    def submit(self, submit: Submit) -> Rejected | None:
        """Queue the request; a refusal says why it can never run."""
        if submit.request_id in self._requests:
            message = f"request_id {submit.request_id!r} is in use; give each request its own"
            return Rejected(request_id=submit.request_id, message=message, param="request_id")
        rejection = find_rejection(submit, self._limits, self.scheduler.pool)
        if rejection is None:
            request = self._build_request(submit)
            self._requests[submit.request_id] = request
            self.scheduler.add(request)
        return rejection

    def abort(self, request_id: str) -> Delta | None:
        """End a request between steps; None when it already ended."""
        request = self._requests.get(request_id)
        if request is None:
            return None
        self._finish(request, "abort")
        return Delta(
            request_id=request_id, token_ids=[], finish_reason="abort", cached_tokens=request.num_cached_tokens
        )

    def abort_all(self, prefix: str) -> None:
        """End every request whose id starts with `prefix`."""
        for request_id in [request_id for request_id in self._requests if request_id.startswith(prefix)]:
            self.abort(request_id)

    def abort_running(self) -> list[Delta]:
        """End every request that a failed step may have touched: its keys and values cannot be trusted."""
        deltas = [self.abort(request.request_id) for request in list(self.scheduler.running)]
        return [delta for delta in deltas if delta is not None]

    def step(self) -> list[Delta]:
        """One batch: at most one new token for each running request."""
        self._capacity.begin_step()
        chunks = self.scheduler.schedule()
        if not chunks:
            return []
        occupancy = self._find_occupancy()
        logits = self.runner.forward(chunks)
        sampled = self.runner.sample(chunks, logits)
        return self._commit(chunks, sampled, occupancy)

    def stats(self, *, ready: bool = True) -> Stats:
        scheduler = self.scheduler
        return Stats(
            ready=ready,
            running=len(scheduler.running),
            waiting=len(scheduler.waiting),
            backlog_tokens=count_backlog_tokens(scheduler.waiting, scheduler.running, self._answers),
            tokens_per_second=self._served.tokens_per_second(),
            capacity_tokens_per_second=self._capacity.tokens_per_second,
            capacity_source=self._capacity.source,
            free_pages=scheduler.pool.num_free,
            cached_pages=scheduler.pool.num_cached,
            total_pages=scheduler.pool.total_pages,
            preemptions=scheduler.num_preemptions,
            prompt_tokens=self._prompt_tokens,
            cached_prompt_tokens=self._cached_prompt_tokens,
            generation_tokens=self._generation_tokens,
            steps=self._steps,
        )

    def _build_request(self, submit: Submit) -> Request:
        sampling = submit.sampling
        eos_token_ids = () if sampling.ignore_eos else self._limits.eos_token_ids
        return Request(
            request_id=submit.request_id,
            token_ids=list(submit.prompt_token_ids),
            num_prompt_tokens=len(submit.prompt_token_ids),
            sampling=sampling,
            seed=self._draw_seed() if sampling.seed is None else sampling.seed,
            stop_token_ids=frozenset(sampling.stop_token_ids) | frozenset(eos_token_ids),
            cache_salt=submit.cache_salt,
        )

    def _find_occupancy(self) -> float:
        """Of this step, 0 to 1: full when requests wait although the step was scheduled."""
        scheduler = self.scheduler
        return 1.0 if scheduler.waiting else len(scheduler.running) / self._limits.max_num_seqs

    def _commit(self, chunks: Sequence[Chunk], sampled: Sequence[Sampled], occupancy: float) -> list[Delta]:
        results = iter(sampled)
        served_tokens = sum(self._commit_computed(chunk) for chunk in chunks)
        deltas = [self._commit_token(chunk.request, *next(results)) for chunk in chunks if chunk.samples]
        self._generation_tokens += len(deltas)
        self._steps += 1
        self._served.add(served_tokens + len(deltas))
        self._capacity.end_step(served_tokens + len(deltas), occupancy)
        return deltas

    def _commit_computed(self, chunk: Chunk) -> int:
        """Prompt tokens that this chunk served for the first time."""
        request = chunk.request
        if not request.was_counted:
            request.was_counted = True
            self._prompt_tokens += request.num_prompt_tokens
            self._cached_prompt_tokens += request.num_cached_tokens
        request.num_computed_tokens += chunk.num_tokens
        self.scheduler.prefix.register(request)
        computed_prompt = min(request.num_computed_tokens, request.num_prompt_tokens)
        served = max(0, computed_prompt - request.num_served_prompt_tokens)
        request.num_served_prompt_tokens += served
        return served

    def _commit_token(self, request: Request, token_id: int, logprobs: TokenLogprobs | None) -> Delta:
        request.token_ids.append(token_id)
        reason = find_finish_reason(request)
        if reason is not None:
            self._finish(request, reason)
        return Delta(
            request_id=request.request_id,
            token_ids=[token_id],
            logprobs=None if logprobs is None else [logprobs],
            finish_reason=reason,
            cached_tokens=request.num_cached_tokens,
        )

    def _finish(self, request: Request, reason: FinishReason) -> None:
        self.scheduler.finish(request, reason)
        del self._requests[request.request_id]
        if reason != "abort":
            self._answers.observe(request.num_output_tokens)
        if not self.scheduler.has_work:
            self._capacity.rest()
            self.scheduler.check_integrity()


def find_finish_reason(request: Request) -> FinishReason | None:
    """After a new token. `min_tokens` holds stop tokens back here too, should every other token be masked."""
    assert request.state is RequestState.RUNNING
    if request.token_ids[-1] in request.stop_token_ids and request.num_output_tokens > request.sampling.min_tokens:
        return "stop"
    if request.num_output_tokens >= request.sampling.max_tokens:
        return "length"
    return None
