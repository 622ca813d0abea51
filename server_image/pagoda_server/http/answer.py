"""Runs a plan and gives its answer whole or as a stream; the two APIs differ only in their `Dialect`."""

from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web

from pagoda_server.http.choice import Piece
from pagoda_server.http.chunks import ChunkWriter, Dialect
from pagoda_server.http.engine_client import EngineClient
from pagoda_server.http.generate import GenerationPlan, Run
from pagoda_server.http.metrics import ServerMetrics
from pagoda_server.http.schemas import GenerationRequest
from pagoda_server.http.shapes import join_pieces
from pagoda_server.http.stream import build_event, stream_events
from pagoda_server.http.trace import Trace


@dataclass(frozen=True, slots=True)
class Answer:
    engine: EngineClient
    metrics: ServerMetrics
    plan: GenerationPlan
    dialect: Dialect
    trace: Trace

    async def respond(self, request: web.Request, body: GenerationRequest) -> web.StreamResponse:
        submits = self.trace.submit(body, self.plan.submits)
        async with Run(self.engine, self.plan, self.metrics, self.trace, submits) as run:
            if body.stream:
                return await stream_events(request, Events(self, run, body))
            return web.Response(body=orjson.dumps(await self._whole(run)), content_type="application/json")

    async def _whole(self, run: Run) -> dict[str, Any]:
        pieces: dict[int, list[Piece]] = {choice.index: [] for choice in self.plan.choices}
        while not run.finished:
            for piece in await run.next():
                pieces[piece.index].append(piece)
        choices = [self.dialect.build_choice(join_pieces(parts)) for parts in pieces.values()]
        return self.dialect.whole.wrap(choices, usage=self.plan.usage())


class Events:
    """The events of an answer that streams."""

    def __init__(self, answer: Answer, run: Run, body: GenerationRequest) -> None:
        self._answer = answer
        self._run = run
        self._include_usage = body.include_usage
        more: dict[str, Any] = {"usage": None} if body.include_usage else {}
        usage = answer.plan.usage if body.continuous_usage else None
        self._writers = [ChunkWriter(answer.dialect, choice.index, more, usage=usage) for choice in answer.plan.choices]

    async def next(self) -> bytes:
        """Returns an event for each choice that has news; empty at the end."""
        while not self._run.finished:
            if events := b"".join([self._writers[piece.index].write(piece) for piece in await self._run.next()]):
                return events
        return b""

    def build_last(self) -> bytes:
        if not self._include_usage:
            return b""
        return build_event(self._answer.dialect.chunk.wrap([], usage=self._answer.plan.usage()))
