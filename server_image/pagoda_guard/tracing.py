"""Traces by OpenTelemetry's SDK, sent as OTLP over HTTP: the one place that says how.

A program imports this only when it is told where traces go, and starts spans only for requests that are sampled.
Nothing here may slow or fail what is traced: spans are sent by a thread of their own, at most `WAITING_SPANS` wait for
it, and one that finds no place or no collector is counted and let go.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Tracer,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from pagoda_guard.collector import TRACES_PATH, Outcome

log = logging.getLogger(__name__)
WAITING_SPANS = 2048
BATCH_SPANS = 512
BATCH_SECONDS = 1.0
EXPORT_SECONDS = 3.0
"""The limit of one batch, attempts included. At the program's end it waits for at most one that fails."""
NO_PARENT = Context()
SCOPE = "pagoda"

Count = Callable[[Outcome, int], None]
_propagator = TraceContextTextMapPropagator()


class CountingExporter(SpanExporter):
    """Counts what the collector took and what it did not, and logs when that changes."""

    def __init__(self, exporter: SpanExporter, count: Count) -> None:
        self.taken_spans = 0
        """Written by the thread that exports, read by the one that ends spans."""
        self.is_closing = False
        self._exporter = exporter
        self._count = count
        self._is_failing = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = SpanExportResult.FAILURE
        if not (self.is_closing and self._is_failing):
            result = self._exporter.export(spans)
        self.taken_spans += len(spans)
        has_failed = result is not SpanExportResult.SUCCESS
        self._count("failed" if has_failed else "exported", len(spans))
        self._report(has_failed)
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def _report(self, has_failed: bool) -> None:
        if has_failed and not self._is_failing:
            log.warning("traces cannot be sent, they are let go until the collector takes them again")
        elif self._is_failing and not has_failed:
            log.info("traces are sent again")
        self._is_failing = has_failed


class BoundedProcessor(BatchSpanProcessor):
    """Gives spans to the exporter's thread while there is a place for them. NB: spans end in one thread."""

    def __init__(self, exporter: SpanExporter, count: Count, *, waiting_spans: int = WAITING_SPANS) -> None:
        self._counting = CountingExporter(exporter, count)
        super().__init__(
            self._counting,
            max_queue_size=waiting_spans + BATCH_SPANS,
            schedule_delay_millis=BATCH_SECONDS * 1000,
            max_export_batch_size=BATCH_SPANS,
        )
        self._count = count
        self._waiting_spans = waiting_spans
        self._ended_spans = 0

    def on_end(self, span: ReadableSpan) -> None:
        if self._ended_spans - self._counting.taken_spans >= self._waiting_spans:
            self._count("dropped", 1)
            return
        self._ended_spans += 1
        super().on_end(span)

    def shutdown(self) -> None:
        self._counting.is_closing = True
        super().shutdown()  # type: ignore[no-untyped-call]


class Tracing:
    """Starts spans and hands them to `processor` when they end."""

    def __init__(self, processor: SpanProcessor, attributes: Mapping[str, str]) -> None:
        """Takes the attributes of the resource, which is this process."""
        resource = Resource.create({"service.version": version("pagoda"), **attributes})
        self._provider = TracerProvider(resource=resource, sampler=ALWAYS_ON, shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self._tracer: Tracer = self._provider.get_tracer(SCOPE)

    @classmethod
    def open(cls, endpoint: str, attributes: Mapping[str, str], count: Count) -> "Tracing":
        """Returns what sends to the collector at `endpoint`. `count` is told what becomes of spans, in two threads."""
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # NB: it logs each failure, and what clients sent
        exporter = OTLPSpanExporter(endpoint=endpoint + TRACES_PATH, timeout=EXPORT_SECONDS)
        return cls(BoundedProcessor(exporter, count), attributes)

    def close(self) -> None:
        """Sends what waits and ends the thread. It blocks for a few seconds where the collector does not answer."""
        self._provider.shutdown()

    def start_span(
        self,
        name: str,
        parent: SpanContext | Span | None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Mapping[str, str | int | float | bool | Sequence[str]] | None = None,
        start_ns: int | None = None,
    ) -> Span:
        """Returns a span; `parent` None begins a new trace."""
        return self._tracer.start_span(
            name, context=_build_context(parent), kind=kind, attributes=attributes, start_time=start_ns
        )


def describe_process(
    service: str, name: str, *, namespace: str, model_deployment: str, pod_name: str
) -> dict[str, str]:
    """Returns the attributes of the resource: the process `name` of a pod, or of a model where it is in none."""
    attributes = {
        "service.name": service,
        "service.instance.id": f"{pod_name or model_deployment}/{name}",
        "k8s.namespace.name": namespace,
        "k8s.pod.name": pod_name,
    }
    return {key: text for key, text in attributes.items() if text}


def _build_context(parent: SpanContext | Span | None) -> Context:
    if parent is None:
        return NO_PARENT
    return set_span_in_context(NonRecordingSpan(parent) if isinstance(parent, SpanContext) else parent, NO_PARENT)


def read_parent(traceparents: Sequence[str], tracestates: Sequence[str]) -> SpanContext | None:
    """Returns what a caller says of its own span in W3C's headers; None when it says nothing that can be read."""
    if len(traceparents) != 1:
        return None
    carrier = {"traceparent": list(traceparents), "tracestate": list(tracestates)}
    found = get_current_span(_propagator.extract(carrier, NO_PARENT)).get_span_context()
    return found if found.is_valid else None


def write_parent(span: Span) -> list[tuple[str, str]]:
    """Returns W3C's headers that name `span` as the parent of what is called."""
    carrier: dict[str, str] = {}
    _propagator.inject(carrier, set_span_in_context(span, NO_PARENT))
    return list(carrier.items())


def read_ids(span: Span) -> dict[str, str]:
    """Returns the names of a span as an exemplar of a metric has them."""
    context = span.get_span_context()
    return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}


def to_wall_ns(monotonic_seconds: float) -> int:
    """Returns the time of day at a moment of this machine's monotonic clock, which its processes share."""
    return time.time_ns() - int((time.monotonic() - monotonic_seconds) * 1e9)
