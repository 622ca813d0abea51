"""Runs a plan and gives its answer whole or as a stream; the two APIs differ only in their `Dialect`."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web

from pagoda_server.engine_client import EngineClient
from pagoda_server.http.choice import Piece
from pagoda_server.http.chunks import ChunkWriter, Dialect
from pagoda_server.http.generate import Plan, generate
from pagoda_server.http.shapes import join_pieces
from pagoda_server.http.stream import build_event, stream_events
from pagoda_server.metrics import ServerMetrics


@dataclass(frozen=True, slots=True)
class Answer:
    engine: EngineClient
    metrics: ServerMetrics
    plan: Plan
    dialect: Dialect

    async def respond(self, request: web.Request, *, stream: bool, include_usage: bool) -> web.StreamResponse:
        if not stream:
            return web.Response(body=orjson.dumps(await self._whole()), content_type="application/json")
        async with aclosing(self._events(include_usage)) as events:
            return await stream_events(request, events)

    async def _whole(self) -> dict[str, Any]:
        pieces: dict[int, list[Piece]] = {choice.index: [] for choice in self.plan.choices}
        async with aclosing(generate(self.engine, self.plan, self.metrics)) as stream:
            async for news in stream:
                for piece in news:
                    pieces[piece.index].append(piece)
        choices = [self.dialect.build_choice(join_pieces(parts)) for parts in pieces.values()]
        return self.dialect.whole.wrap(choices, usage=self.plan.usage())

    async def _events(self, include_usage: bool) -> AsyncGenerator[bytes, None]:
        """What is to be written at a time: an event for each choice that has news."""
        more: dict[str, Any] = {"usage": None} if include_usage else {}
        writers = [ChunkWriter(self.dialect, choice.index, more) for choice in self.plan.choices]
        async with aclosing(generate(self.engine, self.plan, self.metrics)) as stream:
            async for news in stream:
                if events := b"".join([writers[piece.index].write(piece) for piece in news]):
                    yield events
        if include_usage:
            yield build_event(self.dialect.chunk.wrap([], usage=self.plan.usage()))
