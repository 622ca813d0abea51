"""A front's spans of a request whose caller traces it, and the engine's, made of the times that it tells.

Imported only where traces have somewhere to go. Nothing that a client wrote and no word of an answer is in a span, but
numbers. Attributes have OpenTelemetry's names for HTTP and for generative AI; those that begin with `pagoda` are ours.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec
from aiohttp import web
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode

from pagoda_guard.collector import Outcome
from pagoda_guard.tracing import Tracing, describe_process, read_parent, to_wall_ns
from pagoda_server.http.choice import Choice
from pagoda_server.http.routes import CHAT, COMPLETIONS, MESSAGES, RESPONSES
from pagoda_server.http.schemas import GenerationRequest
from pagoda_server.http.tally import SpanName
from pagoda_server.http.trace import UNTRACED, Plan, Trace
from pagoda_server.settings import Settings
from pagoda_server.wire import FinishReason, Submit, Timing

OPERATIONS = {CHAT: "chat", COMPLETIONS: "text_completion", RESPONSES: "chat", MESSAGES: "chat"}
MAX_TRACED_SEQUENCES = 16
"""The sequences of one request that have spans of their own."""
Attribute = str | int | float | bool | Sequence[str]


class Tracer:
    def __init__(self, tracing: Tracing, model_name: str) -> None:
        self._tracing = tracing
        self._model_name = model_name

    @classmethod
    def open(cls, settings: Settings, number: int, count: Callable[[Outcome, int], None]) -> "Tracer":
        """Returns what sends the spans of front `number` to the collector that the settings name."""
        process = describe_process(
            "pagoda-server",
            f"front-{number}",
            namespace=settings.namespace,
            model_deployment=settings.model_deployment,
            pod_name=settings.pod_name,
        )
        return cls(Tracing.open(settings.tracing_endpoint, process, count), settings.served_model_name)

    def begin(self, request: web.Request) -> Trace:
        """Returns the request's trace. The caller decides, which is the gateway: it names a trace or does not."""
        operation, headers = OPERATIONS.get(request.path), request.headers
        if operation is None:
            return UNTRACED
        parent = read_parent(headers.getall("traceparent", ()), headers.getall("tracestate", ()))
        if parent is None or not parent.trace_flags.sampled:
            return UNTRACED
        attributes = {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": "pagoda",
            "gen_ai.request.model": self._model_name,
            "http.request.method": request.method,
            "http.route": request.path,
        }
        return SampledTrace(self._tracing, f"{request.method} {request.path}", parent, attributes)

    def close(self) -> None:
        """Sends what waits. It blocks for a few seconds where the collector does not answer."""
        self._tracing.close()


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of the engine's work for one sequence, in seconds of the monotonic clock."""

    name: str
    begun_at: float
    ended_at: float


class SampledTrace(Trace):
    def __init__(self, tracing: Tracing, name: str, parent: SpanContext, attributes: Mapping[str, Attribute]) -> None:
        self._tracing = tracing
        self._span = tracing.start_span(name, parent, SpanKind.SERVER, attributes)
        self._reasons: list[FinishReason] = []
        context = self._span.get_span_context()
        self.span_name = SpanName(context.trace_id, context.span_id)

    def submit(self, body: GenerationRequest, submits: Sequence[Submit]) -> Sequence[Submit]:
        sampling = submits[0].sampling
        self._span.set_attributes(
            {
                "gen_ai.request.max_tokens": sampling.max_tokens,
                "gen_ai.request.temperature": sampling.temperature,
                "gen_ai.request.top_p": sampling.top_p,
                "gen_ai.request.stream": bool(body.stream),
                "gen_ai.request.choice.count": len(submits),
            }
        )
        self._span.add_event("submitted")
        traced = [msgspec.structs.replace(submit, is_traced=True) for submit in submits[:MAX_TRACED_SEQUENCES]]
        return [*traced, *submits[MAX_TRACED_SEQUENCES:]]

    def finish(self, reason: FinishReason) -> None:
        self._reasons.append(reason)

    def note_answer(self, plan: Plan, timings: Mapping[str, Timing], last_token_at: Mapping[str, float]) -> None:
        for submit, choice in zip(plan.submits, plan.choices, strict=True):
            if timing := timings.get(submit.request_id):
                ended_at = timing.finished_at or last_token_at.get(submit.request_id) or time.monotonic()
                for phase in list_phases(timing, ended_at):
                    described = describe_phase(phase, timing, choice, len(submit.prompt_token_ids))
                    self._add_phase(phase, timing, described)
        first_tokens = [timing.first_token_at for timing in timings.values() if timing.first_token_at]
        if first_tokens:
            self._span.add_event("first token", timestamp=to_wall_ns(min(first_tokens)))
        self._span.set_attributes(
            {
                "gen_ai.usage.input_tokens": plan.prompt_tokens,
                "gen_ai.usage.cache_read.input_tokens": plan.count_cached_tokens(),
                "gen_ai.usage.output_tokens": sum(choice.token_count for choice in plan.choices),
                "gen_ai.response.finish_reasons": list(self._reasons),
            }
        )

    def fail(self, code: str, status: int) -> None:
        self._span.set_attribute("error.type", code)
        if status >= 500:
            self._span.set_status(Status(StatusCode.ERROR))

    def end(self, status: int | None) -> None:
        if status is None:
            self.fail("client_left", 500)
        else:
            self._span.set_attribute("http.response.status_code", status)
        self._span.end()

    def _add_phase(self, phase: Phase, timing: Timing, attributes: Mapping[str, Attribute]) -> None:
        begun_ns, ended_ns = to_wall_ns(phase.begun_at), to_wall_ns(phase.ended_at)
        span = self._tracing.start_span(phase.name, self._span, attributes=attributes, start_ns=begun_ns)
        if phase.name == "decode":
            span.add_event("first token", timestamp=begun_ns)
        for at in timing.preempted_at:
            if phase.begun_at <= at < phase.ended_at:
                span.add_event("preempted", timestamp=to_wall_ns(at))
        span.end(max(begun_ns, ended_ns))


def list_phases(timing: Timing, ended_at: float) -> Iterator[Phase]:
    """Yields what the engine did for one sequence, as far as it came: each phase ends where the next begins."""
    begun = [("engine queue", timing.queued_at), ("prefill", timing.started_at), ("decode", timing.first_token_at)]
    reached = [(name, at) for name, at in begun if at is not None]
    ends = [*(at for _, at in reached[1:]), max(ended_at, reached[-1][1])]
    for (name, begun_at), phase_ended_at in zip(reached, ends, strict=True):
        yield Phase(name, begun_at, phase_ended_at)


def describe_phase(phase: Phase, timing: Timing, choice: Choice, prompt_tokens: int) -> dict[str, Attribute]:
    attributes: dict[str, Attribute] = {"pagoda.choice.index": choice.index}
    if phase.name == "prefill":
        attributes["pagoda.engine.steps"] = timing.prefill_steps
        attributes["gen_ai.usage.input_tokens"] = prompt_tokens
        attributes["gen_ai.usage.cache_read.input_tokens"] = choice.cached_tokens
    if phase.name == "decode":
        attributes["pagoda.engine.steps"] = timing.decode_steps
        attributes["gen_ai.usage.output_tokens"] = choice.token_count
    return attributes
