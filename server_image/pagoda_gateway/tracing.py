"""The gateway's spans of a request that is sampled: the request, its wait in the queue, the call of the server.

Imported only where traces have somewhere to go. Nothing that a client wrote is in a span, but the context of its own
and the id of its request.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from aiohttp import web
from opentelemetry.trace import Span, SpanContext, SpanKind, Status, StatusCode

from pagoda_gateway.errors import Refusal
from pagoda_gateway.paths import name_route
from pagoda_gateway.settings import Settings
from pagoda_gateway.stamp import REQUEST_ID
from pagoda_gateway.trace import UNTRACED, Headers, Trace
from pagoda_guard.collector import Outcome
from pagoda_guard.tracing import Tracing, describe_process, read_ids, read_parent, write_parent

CLIENT_LEFT = 499


class Tracer:
    """Decides which requests are traced, and begins their spans."""

    def __init__(self, tracing: Tracing, settings: Settings, draw: Callable[[], float] = random.random) -> None:
        """Takes `draw`, which returns a number from 0 to 1: a request is sampled where it is below the ratio."""
        self._tracing = tracing
        self._ratio = settings.tracing_sampling_ratio
        self._follows_parent = settings.tracing_follow_parent
        self._attributes = {
            "gen_ai.request.model": settings.model_name,
            "pagoda.model_deployment": settings.model_deployment,
        }
        self._draw = draw

    @classmethod
    def open(cls, settings: Settings, count: Callable[[Outcome, int], None]) -> "Tracer":
        """Returns what sends this gateway's spans to the collector that the settings name."""
        process = describe_process(
            "pagoda-gateway",
            "gateway",
            namespace=settings.namespace,
            model_deployment=settings.model_deployment,
            pod_name=settings.pod_name,
        )
        return cls(Tracing.open(settings.tracing_endpoint, process, count), settings)

    def close(self) -> None:
        """Sends what waits. It blocks for a few seconds where the collector does not answer."""
        self._tracing.close()

    def begin(self, request: web.Request) -> Trace:
        """Returns the request's trace, which goes on with the caller's where its headers name one.

        NB: whether it is sampled is the caller's word only where that is trusted: else anyone could have all traced.
        """
        parent = self._read_parent(request) if self._follows_parent else None
        is_sampled = self._draw() < self._ratio if parent is None else parent.trace_flags.sampled
        if not is_sampled:
            return UNTRACED
        return SampledTrace(self._tracing, request, parent or self._read_parent(request), self._attributes)

    def _read_parent(self, request: web.Request) -> SpanContext | None:
        headers = request.headers
        return read_parent(headers.getall("traceparent", ()), headers.getall("tracestate", ()))


class SampledTrace(Trace):
    def __init__(
        self, tracing: Tracing, request: web.Request, parent: SpanContext | None, attributes: dict[str, str]
    ) -> None:
        route = name_route(request.path)
        self._tracing = tracing
        self._name = f"{request.method} {route}"
        self._request = {**attributes, "http.request.method": request.method, "http.route": route}
        named = {**self._request, "pagoda.request_id": request[REQUEST_ID]}
        self._span = tracing.start_span(self._name, parent, SpanKind.SERVER, named)
        self._call: Span | None = None
        self.exemplar = read_ids(self._span)

    def note_tenant(self, tenant: str) -> None:
        self._span.set_attribute("pagoda.tenant", tenant)

    @contextmanager
    def wait(self) -> Iterator[None]:
        span = self._tracing.start_span("queue", self._span)
        with _ending(span):
            yield

    @contextmanager
    def call(self) -> Iterator[Headers]:
        self._call = span = self._tracing.start_span(self._name, self._span, SpanKind.CLIENT, self._request)
        with _ending(span):
            yield write_parent(span)

    def note_attempt(self, error: Exception) -> None:
        if self._call is not None:
            self._call.add_event("attempt failed", {"error.type": type(error).__name__})

    def note_head(self, status: int) -> None:
        if self._call is not None:
            self._call.set_attribute("http.response.status_code", status)
            if status >= 400:
                _fail(self._call, str(status))

    def note_first_byte(self) -> None:
        self._span.add_event("first byte")

    def fail(self, code: str, status: int = 500) -> None:
        for span in (self._span, self._call):
            if span is not None and span.is_recording():
                _fail(span, code, is_error=status >= 500)

    def end(self, status: int) -> None:
        self._span.set_attribute("http.response.status_code", status)
        if status == CLIENT_LEFT:
            _fail(self._span, "client_left")
        elif status >= 500:
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()


def _fail(span: Span, code: str, *, is_error: bool = True) -> None:
    span.set_attribute("error.type", code)
    if is_error:
        span.set_status(Status(StatusCode.ERROR))


@contextmanager
def _ending(span: Span) -> Iterator[None]:
    """Ends the span with what is enclosed, and says of what was not finished why."""
    try:
        yield
    except BaseException as error:
        _fail(span, error.code if isinstance(error, Refusal) else type(error).__name__)
        raise
    finally:
        span.end()
