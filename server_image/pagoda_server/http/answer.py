"""Runs a plan and gives its answer whole or as a stream; the two APIs differ only in their `Dialect`."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web

from pagoda_server.engine_client import EngineClient
from pagoda_server.http.choice import Piece
from pagoda_server.http.generate import Plan, generate
from pagoda_server.http.shapes import Envelope, join_pieces
from pagoda_server.http.stream import stream_events
from pagoda_server.metrics import ServerMetrics


@dataclass(frozen=True, slots=True)
class Dialect:
    whole: Envelope
    chunk: Envelope
    build_choice: Callable[[Piece], dict[str, Any]]
    build_chunk: Callable[[Piece], dict[str, Any]]
    build_start: Callable[[int], dict[str, Any]] | None = None
    """The first chunk of each choice, if the dialect has one."""


@dataclass(frozen=True, slots=True)
class Answer:
    engine: EngineClient
    metrics: ServerMetrics
    plan: Plan
    dialect: Dialect

    async def respond(self, request: web.Request, *, stream: bool, include_usage: bool) -> web.StreamResponse:
        if not stream:
            return web.Response(body=orjson.dumps(await self._whole()), content_type="application/json")
        async with aclosing(self._chunks(include_usage)) as chunks:
            return await stream_events(request, chunks)

    async def _whole(self) -> dict[str, Any]:
        pieces: dict[int, list[Piece]] = {choice.index: [] for choice in self.plan.choices}
        async with aclosing(generate(self.engine, self.plan, self.metrics)) as stream:
            async for piece in stream:
                pieces[piece.index].append(piece)
        choices = [self.dialect.build_choice(join_pieces(parts)) for parts in pieces.values()]
        return self.dialect.whole.wrap(choices, usage=self.plan.usage())

    async def _chunks(self, include_usage: bool) -> AsyncGenerator[dict[str, Any], None]:
        chunk = self.dialect.chunk
        more: dict[str, Any] = {"usage": None} if include_usage else {}
        started: set[int] = set()
        async with aclosing(generate(self.engine, self.plan, self.metrics)) as stream:
            async for piece in stream:
                if self.dialect.build_start is not None and piece.index not in started:
                    started.add(piece.index)
                    yield chunk.wrap([self.dialect.build_start(piece.index)], **more)
                if piece.text or piece.tokens or piece.finish_reason is not None:
                    yield chunk.wrap([self.dialect.build_chunk(piece)], **more)
        if include_usage:
            yield chunk.wrap([], usage=self.plan.usage())
