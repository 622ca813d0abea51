"""Runs a plan of one choice and gives its answer in the shape of an API of conversations, whole or as a stream."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from aiohttp import web

from pagoda_server.dialog.turn import Turn
from pagoda_server.http.answer_form import AnswerForm
from pagoda_server.http.choice import Piece
from pagoda_server.http.engine_client import EngineClient
from pagoda_server.http.errors import RequestError
from pagoda_server.http.generate import GenerationPlan, Run
from pagoda_server.http.json_answers import build_json
from pagoda_server.http.metrics import ServerMetrics
from pagoda_server.http.schemas import GenerationRequest
from pagoda_server.http.stream import stream_events
from pagoda_server.http.trace import Trace
from pagoda_server.http.turns import Params


class Shape(Protocol):
    """How one answer is told."""

    def take(self, piece: Piece) -> None:
        """Notes a piece of an answer that is told at its end."""

    def build_whole(self) -> dict[str, Any]:
        """Returns the answer whose pieces were taken."""

    def write(self, piece: Piece) -> bytes:
        """Returns the events of a piece; the first ones begin the answer, the last ones end it."""

    def build_failure(self, error: RequestError) -> bytes:
        """Returns the events that end an answer which fails."""


class Wishes(GenerationRequest):
    """How an answer is to be written, in the terms of chats and completions: made by us, of what was checked."""

    num_logprobs: int | None = None

    @property
    def wire_logprobs(self) -> int | None:
        return self.num_logprobs


@dataclass(frozen=True, slots=True)
class Dialog:
    """One request of whichever API, read."""

    turn: Turn
    params: Params
    wishes: Wishes
    build_shape: Callable[[GenerationPlan], Shape]
    asked: AnswerForm | None = None
    drops_oldest: bool = False
    """Of a conversation that is too long the beginning may be left out."""


@dataclass(frozen=True, slots=True)
class DialogAnswer:
    engine: EngineClient
    metrics: ServerMetrics
    plan: GenerationPlan
    trace: Trace
    shape: Shape

    async def respond(self, request: web.Request, wishes: Wishes) -> web.StreamResponse:
        submits = self.trace.submit(wishes, self.plan.submits)
        async with Run(self.engine, self.plan, self.metrics, self.trace, submits) as run:
            if wishes.stream:
                return await stream_events(request, _Events(run, self.shape))
            while not run.finished:
                for piece in await run.next():
                    self.shape.take(piece)
            return build_json(self.shape.build_whole())


class _Events:
    def __init__(self, run: Run, shape: Shape) -> None:
        self._run = run
        self._shape = shape

    async def next(self) -> bytes:
        while not self._run.finished:
            if events := b"".join([self._shape.write(piece) for piece in await self._run.next()]):
                return events
        return b""

    def build_last(self) -> bytes:
        return b""

    def build_failure(self, error: RequestError) -> bytes:
        return self._shape.build_failure(error)
