"""The engine: `schedule → launch → commit → constrain`, once per step. It never touches a socket or a tensor.

The masks of a launched step depend on the tokens of the one before it. So they are filled once that one is committed,
while the device computes all of the launched step but the choice that they are for.
"""

import logging
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pagoda_server.engine.admission import build_in_use, build_overdue, find_rejection
from pagoda_server.engine.batch import Chunk, Limits
from pagoda_server.engine.capacity import Capacity, Measured
from pagoda_server.engine.constraining import BROKEN, Constraining, accept
from pagoda_server.engine.constraint import Constraint, FillMasks
from pagoda_server.engine.deadlines import Deadlines
from pagoda_server.engine.lifetimes import observe_end
from pagoda_server.engine.pace import find_prompt_limit
from pagoda_server.engine.page_lives import PageLives
from pagoda_server.engine.pages import PagePool
from pagoda_server.engine.prefix import PrefixCache
from pagoda_server.engine.request import Request, RequestState, find_finish_reason
from pagoda_server.engine.runner import NOTHING_ALLOWED, PendingStep, Runner
from pagoda_server.engine.scheduler import Scheduler
from pagoda_server.engine.served import AnswerLength, ServedWindow, count_backlog_tokens
from pagoda_server.engine.timings import Timings
from pagoda_server.histograms import STEP_TOKENS, Observed
from pagoda_server.wire import Delta, FinishReason, PromptLogprobs, Rejected, Stats, Submit, TokenLogprobs

log = logging.getLogger(__name__)
NO_TOKEN_LEFT = (
    "no token may come next: allowed_token_ids, bad_words and the constraint of the answer leave none together; "
    "ask for less"
)
SEED_BITS = 62
"""Bits of the seed that a request without its own is given."""


@dataclass(slots=True)
class InFlightStep:
    """A step that was launched and not committed."""

    chunks: Sequence[Chunk]
    pending: PendingStep
    occupancy: float
    launched_at: float
    is_constrained: bool = False
    """Its masks were given, if any of its requests needs one."""


class Engine:
    def __init__(
        self,
        runner: Runner,
        limits: Limits,
        pool: PagePool,
        *,
        prefix_caching: bool = True,
        max_wait_seconds: float | None = None,
        measured: Measured | None = None,
        fill_masks: FillMasks | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Takes what was `measured` of the device at start; without the cost of a step, prompts are not paced.

        Without `fill_masks` no request may be constrained.
        """
        measured = measured or Measured()
        self.runner = runner
        self._observed = Observed()
        lives = PageLives(self._observed, clock)
        self.scheduler = Scheduler(limits, pool, PrefixCache(pool, enabled=prefix_caching, lives=lives))
        self.timings = Timings(clock)
        self.max_wait_seconds = max_wait_seconds
        self._limits = limits
        self._clock = clock
        self._deadlines = Deadlines(clock, max_wait_seconds)
        self._requests: dict[str, Request] = {}
        self._in_flight: deque[InFlightStep] = deque()
        self._committed: list[Delta] = []
        """What committed steps gave, kept in case the next one fails before it is returned."""
        self._rejections: list[Rejected] = []
        self._constraining = Constraining(limits, fill_masks)
        self._step_cost = measured.step_cost
        self._served = ServedWindow(clock)
        self._capacity = Capacity(clock, measured=measured.tokens_per_second)
        self._answers = AnswerLength()
        self._not_finite = 0
        self._prompt_tokens = self._cached_prompt_tokens = self._generation_tokens = self._steps = 0

    @property
    def num_in_flight(self) -> int:
        """Returns how many steps were launched and not committed."""
        return len(self._in_flight)

    @property
    def has_work(self) -> bool:
        return bool(self._in_flight) or self.scheduler.has_work

    def submit(self, submit: Submit, constraint: Constraint | None = None) -> Rejected | None:
        """Queues the request, whose answer follows the constraint, or returns why it can never run.

        The constraint is the engine's own from now on, and has accepted nothing yet. An answer under it may always end
        with the model's end of sequence, whatever `ignore_eos` says.
        """
        if submit.request_id in self._requests:
            return build_in_use(submit.request_id)
        rejection = find_rejection(submit, self._limits, self.scheduler.pool)
        if rejection is None:
            request = self._build_request(submit, constraint)
            self._requests[submit.request_id] = request
            self._deadlines.set(request)
            self.scheduler.add(request)
            if submit.is_traced:
                self.timings.begin(request)
        return rejection

    def reject_overdue(self) -> list[Rejected]:
        """Ends the requests that waited for too long."""
        rejections: list[Rejected] = []
        for request in self._deadlines.take_overdue(self._requests, self.scheduler.waiting):
            self._finish(request, "abort")
            rejections.append(build_overdue(request.request_id))
        return rejections

    def abort(self, request_id: str) -> Delta | None:
        """Ends a request between steps; returns None when it has already ended."""
        request = self._requests.get(request_id)
        return None if request is None else self._end(request, "abort")

    def abort_all(self, prefix: str) -> None:
        """Ends every request whose id starts with `prefix`."""
        for request_id in [request_id for request_id in self._requests if request_id.startswith(prefix)]:
            self.abort(request_id)

    def abort_running(self) -> list[Delta]:
        """Ends every request that a failed step may have touched; returns what was committed before it failed, too."""
        self._in_flight.clear()
        for request in self.scheduler.waiting:
            request.num_in_flight = 0  # preempted while a step that is dropped now chose its next token
        return [*self._take_committed(), *(self._fail(request) for request in list(self.scheduler.running))]

    def step(self) -> list[Delta]:
        """Schedules and launches one batch, and commits all but what may stay in flight.

        A step that is committed gives at most one new token to each of its requests; those that it ends because they
        ask for what cannot be are in `take_rejections`.
        """
        self._capacity.begin_step()
        chunks = self.scheduler.schedule(find_prompt_limit(self._step_cost, self.scheduler))
        self.timings.look(self._steps)
        keep = self._launch(chunks) if chunks else max(0, self.num_in_flight - 1)
        deltas = self._commit_all_but(keep)
        self.timings.look(self._steps)
        return deltas

    def take_rejections(self) -> list[Rejected]:
        """Returns the requests that ended, since the last call, because what they ask for cannot be."""
        rejections, self._rejections = self._rejections, []
        return rejections

    def drain(self) -> list[Delta]:
        """Commits all that is in flight: then the device rests."""
        return self._commit_all_but(0)

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
            recomputed_prompt_tokens=scheduler.num_recomputed_tokens,
            corrupted_requests=self._not_finite,
            distributions=self._observed.snapshot(),
        )

    def _build_request(self, submit: Submit, constraint: Constraint | None) -> Request:
        sampling = submit.sampling
        never_ends = sampling.ignore_eos and constraint is None
        eos_token_ids = () if never_ends else self._limits.eos_token_ids
        return Request(
            request_id=submit.request_id,
            token_ids=list(submit.prompt_token_ids),
            num_prompt_tokens=len(submit.prompt_token_ids),
            sampling=sampling,
            seed=random.getrandbits(SEED_BITS) if sampling.seed is None else sampling.seed,
            stop_token_ids=frozenset(sampling.stop_token_ids) | frozenset(eos_token_ids),
            is_constrained=constraint is not None,
            constraint=constraint,
            tenant=submit.cache_salt,
            prefix_salt=submit.prefix_salt,
            group=submit.group or submit.request_id,
            is_streamed=submit.is_streamed,
            submitted_at=self._clock(),
        )

    def _find_occupancy(self) -> float:
        """Returns the occupancy of this step, 0 to 1: full when requests wait although the step was scheduled."""
        scheduler = self.scheduler
        return 1.0 if scheduler.waiting else len(scheduler.running) / self._limits.max_num_seqs

    def _launch(self, chunks: Sequence[Chunk]) -> int:
        """Launches a step of these chunks; returns how many steps may stay in flight."""
        launched_at = self._clock()
        pending = self.runner.launch(chunks)
        self._in_flight.append(InFlightStep(chunks, pending, self._find_occupancy(), launched_at))
        for chunk in chunks:
            chunk.request.num_computed_tokens = chunk.end
            chunk.request.num_in_flight += chunk.is_sampled
        return pending.run_ahead

    def _commit_all_but(self, keep: int) -> list[Delta]:
        """Commits the oldest in flight until `keep` are left, each once it is constrained."""
        self._constrain_oldest()
        while len(self._in_flight) > keep:
            self._committed += self._commit(self._in_flight.popleft())
            self._constrain_oldest()
        return self._take_committed()

    def _constrain_oldest(self) -> None:
        """Gives the oldest step in flight its masks: every token that they depend on is committed."""
        step = self._in_flight[0] if self._in_flight else None
        if step is not None and not step.is_constrained:
            step.is_constrained = True
            if step.pending.constrain is not None:
                masks, failed = self._constraining.fill(step.chunks)
                step.pending.constrain(masks)
                for request in failed:
                    self._reject(request, BROKEN)

    def _take_committed(self) -> list[Delta]:
        committed, self._committed = self._committed, []
        return committed

    def _commit(self, step: InFlightStep) -> list[Delta]:
        results, scores = iter(step.pending.wait()), iter(step.pending.scores())
        now = self._clock()
        self._steps += 1
        deltas: list[Delta] = []
        served_tokens = 0
        for chunk in step.chunks:
            served_tokens += self._commit_computed(chunk, step.launched_at, now)
            if chunk.num_scored and (delta := self._commit_scores(chunk.request, next(scores))):
                deltas.append(delta)
            if chunk.is_sampled and (delta := self._commit_token(chunk.request, *next(results))):
                deltas.append(delta)
        committed_tokens = sum(len(delta.token_ids) for delta in deltas)
        self._generation_tokens += committed_tokens
        self._observed.observe(STEP_TOKENS, served_tokens + committed_tokens)
        self._served.add(served_tokens + committed_tokens)
        self._capacity.end_step(served_tokens + committed_tokens, step.occupancy)
        self._rest_when_idle()
        return deltas

    def _commit_computed(self, chunk: Chunk, launched_at: float, now: float) -> int:
        """Returns how many prompt tokens this chunk served for the first time.

        NB: a preempted request no longer holds pages.
        """
        request = chunk.request
        if request.state is RequestState.FINISHED:
            return 0
        if not request.was_counted:
            request.was_counted, request.started_at = True, launched_at
            self._prompt_tokens += request.num_prompt_tokens
            self._cached_prompt_tokens += request.num_cached_tokens
        if request.state is RequestState.RUNNING:
            self.scheduler.prefix.register(request, chunk.end)
        served = max(0, min(chunk.end, request.num_prompt_tokens) - request.num_served_prompt_tokens)
        request.num_served_prompt_tokens += served
        if served and chunk.end >= request.num_prompt_tokens:  # NB: not seen per token, only where a prompt ends
            request.first_token_at = now
        return served

    def _commit_token(self, request: Request, token_id: int, logprobs: TokenLogprobs | None) -> Delta | None:
        """Adds the token to its request; returns None for one that is rejected, or ended while this was in flight."""
        if request.state is RequestState.FINISHED:
            return None
        request.num_in_flight -= 1
        if request.sampling.max_tokens == 0 and token_id >= 0:
            return self._end(request, "length")
        if token_id == NOTHING_ALLOWED:
            self._reject(request, NO_TOKEN_LEFT)
            return None
        if token_id < 0:
            log.error("request ended, its logits are not finite request=%s", request.request_id)
            self._not_finite += 1
            return self._fail(request)
        problem = accept(request, token_id)
        if problem is not None:
            self._reject(request, problem)
            return None
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

    def _commit_scores(self, request: Request, scores: PromptLogprobs) -> Delta | None:
        """Returns what of a prompt's log-probabilities was not given out before the request was preempted."""
        start = max(scores.start, request.num_scored_tokens + 1)
        if request.state is RequestState.FINISHED or start >= scores.end:
            return None
        request.num_scored_tokens = scores.end - 1
        return Delta(request.request_id, [], prompt_logprobs=[scores.after(start)])

    def _fail(self, request: Request) -> Delta:
        """Ends a request whose keys and values cannot be trusted, nor those that the cache shares with it."""
        self.scheduler.prefix.forget(request)
        return self._end(request, "error")

    def _reject(self, request: Request, message: str) -> None:
        """Ends a request that asked for what cannot be."""
        self._finish(request, "error")
        self._rejections.append(Rejected(request_id=request.request_id, message=message, reason="unfinished"))

    def _end(self, request: Request, reason: FinishReason) -> Delta:
        """Ends a request without another token."""
        self._finish(request, reason)
        return Delta(request.request_id, [], finish_reason=reason, cached_tokens=request.num_cached_tokens)

    def _finish(self, request: Request, reason: FinishReason) -> None:
        self.scheduler.finish(request, reason)
        self.timings.finish(request, self._steps)
        del self._requests[request.request_id]
        observe_end(self._observed, request, self._clock())
        if reason in ("stop", "length"):
            self._answers.observe(request.num_output_tokens)
        self._rest_when_idle()

    def _rest_when_idle(self) -> None:
        if not self.has_work:
            self._capacity.rest()
            self.scheduler.check_integrity()
