"""Runs a plan and gives its answer whole or as a stream; the APIs differ only in their `Dialect`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson
from aiohttp import web

from pagoda_server.http.best_of import choose_best
from pagoda_server.http.choice import Piece
from pagoda_server.http.chunks import ChunkWriter, Dialect
from pagoda_server.http.echo import Echoes
from pagoda_server.http.engine_client import EngineClient
from pagoda_server.http.errors import RequestError
from pagoda_server.http.extras import ChunkExtras, Extras, Prompted
from pagoda_server.http.generate import GenerationPlan, Run
from pagoda_server.http.intake import Intake
from pagoda_server.http.json_answers import build_written
from pagoda_server.http.metrics import ServerMetrics
from pagoda_server.http.schemas import GenerationRequest
from pagoda_server.http.shapes import join_pieces
from pagoda_server.http.stream import DONE, build_event, stream_events
from pagoda_server.http.trace import Trace
from pagoda_server.text.tokenizer import Tokenizer

INLINE_SCORES = 256
"""Log-probabilities that are written on the event loop, in a millisecond or two; more are written beside it."""

INLINE_PIECES = 4096
"""Of answers that are joined there."""


@dataclass(frozen=True, slots=True)
class Answer:
    engine: EngineClient
    metrics: ServerMetrics
    plan: GenerationPlan
    dialect: Dialect
    extras: Extras
    trace: Trace
    intake: Intake
    tokenizer: Tokenizer

    async def respond(self, request: web.Request, body: GenerationRequest) -> web.StreamResponse:
        submits = self.trace.submit(body, self.plan.submits)
        async with Run(self.engine, self.plan, self.metrics, self.trace, submits) as run:
            if body.stream:
                return await stream_events(request, Events(self, run, body))
            pieces = await self._collect(run)
            scores = count_scores([one for parts in pieces.values() for one in parts])
            scores += sum(run.prompt_scores.count(index) for index in pieces)
            is_long = sum(map(len, pieces.values())) > INLINE_PIECES
            raw = await self.intake.run(lambda: self._write(run, pieces), is_heavy=is_long or scores > INLINE_SCORES)
            return build_written(raw)

    async def _collect(self, run: Run) -> dict[int, list[Piece]]:
        pieces: dict[int, list[Piece]] = {choice.index: [] for choice in self.plan.choices}
        while not run.finished:
            for piece in await run.next():
                pieces[piece.index].append(piece)
        return pieces

    def _write(self, run: Run, pieces: dict[int, list[Piece]]) -> bytes:
        plan = self.plan
        prompts = [self._describe_prompt(run, at) for at in range(0, len(plan.submits), plan.per_prompt)]
        echoes = Echoes(plan.list_echoes(), run.prompt_scores)
        best = choose_best(plan.choices, per_prompt=plan.per_prompt, given=plan.given_per_prompt)
        choices: list[Any] = []
        for index, chosen in enumerate(best):
            piece = replace(echoes.begin(join_pieces(pieces[chosen.index])), index=index)
            inside = prompts[chosen.index // plan.per_prompt] if self.extras.in_choice else {}
            choice = {**self.dialect.build_choice(piece), **inside, **self.extras.describe_piece(piece)}
            choices.append(orjson.Fragment(orjson.dumps(choice)))  # one by one: no other thread runs meanwhile
        beside = {} if self.extras.in_choice else prompts[0]
        return orjson.dumps(self.dialect.whole.wrap(choices, usage=plan.usage(), **beside, **self.extras.fixed))

    def _describe_prompt(self, run: Run, at: int) -> dict[str, Any]:
        scores = run.prompt_scores.read(at) if self.extras.num_prompt_logprobs is not None else []
        prompt = Prompted(self.plan.submits[at].prompt_token_ids, scores)
        return self.extras.describe_prompt(self.tokenizer, prompt)


class Events:
    """The events of an answer that streams."""

    def __init__(self, answer: Answer, run: Run, body: GenerationRequest) -> None:
        self._answer = answer
        self._run = run
        self._include_usage = body.include_usage
        usage = answer.plan.usage if body.continuous_usage else None
        more: dict[str, Any] = {"usage": None} if body.include_usage else {}
        more |= answer.extras.fixed
        plan, extras = answer.plan, answer.extras
        self._echoes = Echoes(plan.list_echoes(), run.prompt_scores)
        self._may_be_heavy = answer.dialect.scored or bool(plan.echoes)
        self._writers = [
            ChunkWriter(
                answer.dialect,
                choice.index,
                more,
                usage=usage,
                extras=ChunkExtras(extras, submit.prompt_token_ids) if extras.are_in_chunks else None,
            )
            for choice, submit in zip(plan.choices, plan.submits, strict=True)
        ]

    async def next(self) -> bytes:
        """Returns an event for each choice that has news; empty at the end."""
        while not self._run.finished:
            pieces = await self._run.next()
            if events := await self._write_beside(pieces) if self._may_be_heavy else self._write(pieces):
                return events
        return b""

    def build_last(self) -> bytes:
        if not self._include_usage:
            return DONE
        answer = self._answer
        return build_event(answer.dialect.chunk.wrap([], usage=answer.plan.usage(), **answer.extras.fixed)) + DONE

    def build_failure(self, error: RequestError) -> bytes:
        return build_event(error.body()) + DONE

    async def _write_beside(self, pieces: Sequence[Piece]) -> bytes:
        is_heavy = count_scores(pieces) + self._echoes.count(pieces) > INLINE_SCORES
        return await self._answer.intake.run(lambda: self._write(pieces), is_heavy=is_heavy)

    def _write(self, pieces: Sequence[Piece]) -> bytes:
        return b"".join([self._writers[piece.index].write(self._echoes.begin(piece)) for piece in pieces])


def count_scores(pieces: Sequence[Piece]) -> int:
    """Returns how many log-probabilities are to be written for the pieces."""
    tokens = [token for piece in pieces for token in piece.tokens]
    return sum(1 + len(token.logprobs.top) for token in tokens if token.logprobs is not None)
