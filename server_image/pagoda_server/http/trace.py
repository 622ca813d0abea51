"""What a front tells of a request to whoever traces it.

Most requests are traced by nobody: for them all of this does nothing, and OpenTelemetry is not even imported where
tracing is off.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from aiohttp import web

from pagoda_server.http.choice import Choice
from pagoda_server.http.schemas import GenerationRequest
from pagoda_server.http.tally import SpanName
from pagoda_server.wire import FinishReason, Submit, Timing


class Plan(Protocol):
    """What was submitted, and what came of it so far."""

    @property
    def submits(self) -> Sequence[Submit]: ...
    @property
    def choices(self) -> Sequence[Choice]: ...
    @property
    def prompt_tokens(self) -> int: ...
    def count_cached_tokens(self) -> int: ...


class Trace:
    """A request that nobody traces."""

    span_name: SpanName | None = None
    """What a histogram notes beside this request's value."""

    def submit(self, body: GenerationRequest, submits: Sequence[Submit]) -> Sequence[Submit]:
        """Notes that the request goes to the engine. Returns what is submitted: it says whose times are wanted."""
        return submits

    def finish(self, reason: FinishReason) -> None:
        """Notes that a choice is finished."""

    def note_answer(self, plan: Plan, timings: Mapping[str, Timing], last_token_at: Mapping[str, float]) -> None:
        """Notes the end of an answer, also of one that is not whole; both maps are by the requests' ids."""

    def fail(self, code: str, status: int) -> None:
        """Notes that the answer is an error; `status` 4xx: the client's fault."""

    def end(self, status: int | None) -> None:
        """Notes that all is over. `status` None: the client left before the end."""


UNTRACED = Trace()
TRACE = web.RequestKey("trace", Trace)
"""Where a request has its own."""
