"""From a checked request to pieces of its answers: limits, submission, metrics. Shared by chat and completions."""

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType

from pagoda_server.http.choice import Choice, Piece, Reading
from pagoda_server.http.echo import Echo, build_echo
from pagoda_server.http.engine_client import EngineClient, EngineGone, RequestRejected
from pagoda_server.http.errors import RequestError, context_length_exceeded
from pagoda_server.http.metrics import ServerMetrics
from pagoda_server.http.prompt_scores import PromptScores
from pagoda_server.http.sampling import (
    build_sampling,
    check_prompt_scores,
    check_vocabulary,
    encode_bad_words,
    vary_sampling,
)
from pagoda_server.http.schemas import GenerationRequest
from pagoda_server.http.trace import Trace
from pagoda_server.text.tokenizer import Tokenizer
from pagoda_server.wire import Delta, Grammar, Hello, Submit

MAX_WEIGHED_TOKENS = 131_072
UNSAID_WEIGHED_TOKENS = 256
"""The gateway's estimate of an answer: a client's wish is not trusted further, and one without a wish is short."""
_numbers = itertools.count()
"""Names the requests of this process, which has one connection to the engine; short, since each token carries it."""


@dataclass(frozen=True, slots=True)
class Prompts:
    """The prompts of one request, and what its API says of them."""

    token_ids: Sequence[list[int]]
    param: str
    """The field that holds them."""
    tenant: str
    reading: Reading | None = None
    """How the answers are read; None: they are plain text."""
    grammar: Grammar | None = None
    """What the answers follow."""
    default_answer_tokens: int | None = None
    """The length of an answer where the client names none. None: what is left of the context."""
    echoes: Sequence[str] = ()
    """What each answer begins with, a text for each prompt; empty: with nothing."""
    scores_echo: bool = False
    """Its tokens are told, with their logprobs."""


@dataclass(frozen=True, slots=True)
class GenerationPlan:
    """What to submit to the engine. Choice `i` of prompt `p` has index `p * n + i`."""

    submits: list[Submit]
    choices: list[Choice]
    prompt_tokens: int
    per_prompt: int = 1
    given_per_prompt: int = 1
    """The best of those that are written."""
    echoes: list[Echo] = field(default_factory=list)
    """For each prompt, or none."""
    is_read: bool = False
    """Its answers may hold more than plain text."""
    grammar: Grammar | None = None

    def list_echoes(self) -> dict[int, Echo]:
        """Returns what answers begin with, by the index of their choice."""
        repeated = (echo for echo in self.echoes for _ in range(self.per_prompt))
        return dict(enumerate(repeated))

    def usage(self) -> dict[str, object]:
        completion = sum(choice.token_count for choice in self.choices)
        reasoning = sum(choice.reasoning_tokens for choice in self.choices)
        details = {"completion_tokens_details": {"reasoning_tokens": reasoning}} if self.is_read else {}
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": completion,
            "total_tokens": self.prompt_tokens + completion,
            "prompt_tokens_details": {"cached_tokens": self.count_cached_tokens()},
            **details,
        }

    def count_cached_tokens(self) -> int:
        return sum(choice.cached_tokens for choice in self.choices[:: self.per_prompt])

    def weigh(self, *, answer_is_bounded: bool) -> dict[str, object]:
        """Returns what this costs before it is run: its sequences, and the maximum number of their tokens."""
        max_tokens = MAX_WEIGHED_TOKENS if answer_is_bounded else UNSAID_WEIGHED_TOKENS
        tokens = sum(len(one.prompt_token_ids) + min(one.sampling.max_tokens, max_tokens) for one in self.submits)
        return {"sequences": len(self.submits), "tokens": tokens}


def plan_answer_tokens(body: GenerationRequest, prompts: Prompts, *, length: int, limit: int) -> int:
    """Returns the maximum number of tokens of the answer to a prompt of `length` tokens, in a context of `limit`.

    It is what was asked for, or the API's default, and no more than what is left of the context.
    """
    left = limit - length
    if left < 1:
        raise context_length_exceeded(length, limit, prompts.param)
    wanted = prompts.default_answer_tokens if body.max_answer_tokens is None else body.max_answer_tokens
    max_tokens = left if wanted is None else min(left, wanted)
    if (body.min_tokens or 0) > max_tokens:
        raise RequestError(
            f"min_tokens is {body.min_tokens}, above the {max_tokens} that the answer may have; lower it",
            param="min_tokens",
        )
    return max_tokens


def plan_generation(
    body: GenerationRequest, prompts: Prompts, *, tokenizer: Tokenizer, engine: Hello
) -> GenerationPlan:
    """Returns what to submit to the engine that said `engine`. Raises `RequestError` for what it cannot run."""
    check_vocabulary(body, engine.vocab_size)
    check_prompt_scores(body, sum(map(len, prompts.token_ids)))
    bad_words = encode_bad_words(tokenizer, body.bad_words or ())
    group, salt = str(next(_numbers)), body.cache_salt or ""
    submits: list[Submit] = []
    choices: list[Choice] = []
    echoes: list[Echo] = []
    for at, prompt in enumerate(prompts.token_ids):
        if not prompt:
            raise RequestError(f"{prompts.param} has no tokens; give at least one", param=prompts.param)
        max_tokens = plan_answer_tokens(body, prompts, length=len(prompt), limit=engine.max_model_len)
        first = build_sampling(body, bad_words, max_tokens=max_tokens)
        echo = build_echo(tokenizer, prompts.echoes[at], prompt, scored=prompts.scores_echo) if prompts.echoes else None
        echoes += [] if echo is None else [echo]
        for offset in range(body.num_sequences):
            sampling = vary_sampling(first, offset, scores_prompt=prompts.scores_echo)
            submits.append(
                Submit(
                    request_id=str(next(_numbers)),
                    prompt_token_ids=prompt,
                    sampling=sampling,
                    cache_salt=prompts.tenant,
                    prefix_salt=salt,
                    is_streamed=bool(body.stream),
                    group=group,
                    grammar=prompts.grammar,
                )
            )
            choices.append(
                Choice(
                    index=len(choices),
                    tokenizer=tokenizer,
                    stops=body.stops,
                    min_tokens=sampling.min_tokens,
                    keeps_stop=bool(body.include_stop_str_in_output),
                    scored=sampling.logprobs is not None,
                    shows_special=body.skip_special_tokens is False,
                    begins_at=None if echo is None else len(echo.text),
                    reading=prompts.reading,
                )
            )
    prompt_tokens = sum(map(len, prompts.token_ids))
    return GenerationPlan(
        submits,
        choices,
        prompt_tokens,
        body.num_sequences,
        body.n or 1,
        echoes,
        is_read=prompts.reading is not None,
        grammar=prompts.grammar,
    )


class Run:
    """A plan at work: the pieces of its answers as they come. Leaving the `async with` aborts what still runs."""

    def __init__(
        self,
        engine: EngineClient,
        plan: GenerationPlan,
        metrics: ServerMetrics,
        trace: Trace,
        submits: Sequence[Submit],
    ) -> None:
        """Takes the `submits` of the plan as they are to be sent."""
        self._generation = engine.generate(submits)
        self._plan = plan
        self._trace = trace
        self._span_name = trace.span_name
        self._metrics = metrics
        self._choices = {submit.request_id: choice for submit, choice in zip(plan.submits, plan.choices, strict=True)}
        self.prompt_scores = PromptScores()
        self._started = time.monotonic()
        self._last: dict[str, float] = {}

    async def __aenter__(self) -> "Run":
        await self._generation.__aenter__()
        self._metrics.asked(n=self._plan.given_per_prompt, max_tokens=self._plan.submits[0].sampling.max_tokens)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not isinstance(error, RequestError):
            for _ in range(self._generation.num_open):
                self._metrics.abandoned()
        await self._generation.__aexit__(kind, error, trace)
        self._trace.note_answer(self._plan, self._generation.timings, self._last)

    @property
    def finished(self) -> bool:
        return self._generation.finished

    async def next(self) -> list[Piece]:
        """Waits for news and returns all of it, one piece per choice. Raises `RequestError`."""
        try:
            return await self._next()
        except RequestError as error:
            self._trace.fail(error.code or "invalid_request", error.status)
            raise

    async def _next(self) -> list[Piece]:
        try:
            deltas = await self._generation.next()
        except RequestRejected as error:
            raise say_rejected(error) from error
        except EngineGone as error:
            raise say_gone() from error
        now = time.monotonic()
        if any(delta.finish_reason == "error" for delta in deltas):
            self._metrics.finished("error", now - self._started, self._span_name)
            raise RequestError("the engine failed on this request; try again", status=500, code="engine_error")
        return [self._push(delta, now) for delta in deltas]

    def _push(self, delta: Delta, now: float) -> Piece:
        piece = self._choices[delta.request_id].push(delta)
        if delta.prompt_logprobs:
            self.prompt_scores.add(piece.index, delta.prompt_logprobs)
        if delta.token_ids:
            self._observe(delta.request_id, len(delta.token_ids), now)
        if piece.finish_reason is not None:
            self._generation.abort(delta.request_id)
            self._metrics.finished(piece.finish_reason, now - self._started, self._span_name)
            self._trace.finish(piece.finish_reason)
            if self.finished:
                self._metrics.longest_answer(max(choice.token_count for choice in self._choices.values()))
        return piece

    def _observe(self, request_id: str, tokens: int, now: float) -> None:
        before = self._last.get(request_id)
        if before is None:
            self._metrics.first_token(now - self._started, self._span_name)
        else:
            self._metrics.next_tokens((now - before) / tokens, tokens, self._span_name)
        self._last[request_id] = now


async def judge_grammar(engine: EngineClient, grammar: Grammar) -> None:
    """Raises `RequestError` for a grammar that the engine would not take."""
    try:
        await engine.judge(grammar)
    except RequestRejected as error:
        raise say_rejected(error) from error
    except EngineGone as error:
        raise say_gone() from error


async def weigh_plan(body: GenerationRequest, engine: EngineClient, plan: GenerationPlan) -> dict[str, object]:
    """Returns what the request costs. Raises `RequestError` when it would be refused: by the engine's compiler, too."""
    if plan.grammar is not None:
        await judge_grammar(engine, plan.grammar)
    return plan.weigh(answer_is_bounded=body.max_answer_tokens is not None)


def say_gone() -> RequestError:
    return RequestError("the engine stopped; try again", status=503, code="engine_gone")


def say_rejected(error: RequestRejected) -> RequestError:
    if error.reason == "overdue":
        return RequestError(f"{error.message}; try again", status=503, code="wait_exceeded")
    if error.reason == "unfinished":
        return RequestError(error.message, status=422, param=error.param, code="unfinished")
    return RequestError(error.message, param=error.param)
