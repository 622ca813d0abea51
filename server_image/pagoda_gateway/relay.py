"""The life of a relayed request: who asks, may it enter, wait its turn, hand it on, hand the answer back.

It never looks into the answer. A request is sent twice only when its client got no byte and the server
never saw it or closed before answering.
"""

import asyncio
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass

import msgspec
from aiohttp import web

from pagoda_gateway.admission import Admission
from pagoda_gateway.auth import KeyRing
from pagoda_gateway.body import Bodies
from pagoda_gateway.check import Judged, Question
from pagoda_gateway.dialects import Dialect
from pagoda_gateway.drain import Drain
from pagoda_gateway.errors import Refusal, name_place
from pagoda_gateway.failure_log import FAILURE
from pagoda_gateway.json_answers import build_written
from pagoda_gateway.metrics import Metrics
from pagoda_gateway.paths import GENERATION_PATHS, RESPONSES
from pagoda_gateway.reply import HOP_HEADERS, SSE, ClientGone, Reply
from pagoda_gateway.responses.service import ResponseService, Wanted
from pagoda_gateway.settings import Settings
from pagoda_gateway.stamp import REQUEST_ID
from pagoda_gateway.tenant import admit_tenant, refuse_after_drain
from pagoda_gateway.trace import UNTRACED, Trace
from pagoda_gateway.upstream import (
    PLAIN,
    Exchange,
    UpstreamBroken,
    UpstreamUnreachable,
    build_request_head,
    open_exchange,
    read_document,
)
from pagoda_guard.request_id import REQUEST_ID_HEADER

log = logging.getLogger(__name__)

CLIENT_LEFT = 499
ATTEMPTS = 3
BROKEN_ATTEMPTS = 2
"""Fewer: a request that the server saw may be what broke it."""
ATTEMPT_PAUSE_SECONDS = 0.1
UNREACHABLE_RETRY_SECONDS = 2
ERROR_LIMIT_BYTES = 64 * 1024
TRACE_HEADERS = frozenset({"traceparent", "tracestate"})
"""The server hears of a trace from the gateway alone, which decides what is traced."""
KEY_HEADERS = frozenset({"authorization", "x-api-key"})
NOT_RELAYED = (
    HOP_HEADERS | TRACE_HEADERS | KEY_HEADERS | {"content-length", "content-encoding", "expect", "x-request-id"}
)
METHODS = ("GET", "HEAD", "POST", "DELETE")


@dataclass(frozen=True, slots=True)
class Parts:
    settings: Settings
    admission: Admission
    keys: KeyRing
    drain: Drain
    metrics: Metrics
    bodies: Bodies
    responses: ResponseService
    clock: Callable[[], float]
    begin_trace: Callable[[web.Request], Trace] | None = None
    """None: nothing is traced."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of the server, on its way to the client."""

    exchange: Exchange
    reply: Reply
    trace: Trace
    arrived_at: float
    wanted: Wanted | None


def build_headers(headers: Collection[tuple[str, str]], tenant: str, request_id: str) -> list[tuple[str, str]]:
    """Returns what the server may see. Nobody outside speaks for the gateway, and keys end here."""
    named = {n.strip().lower() for k, v in headers if k.lower() == "connection" for n in v.split(",")}
    hidden = NOT_RELAYED | named
    kept = [
        (key, value)
        for key, value in headers
        if key.lower() not in hidden
        and not key.lower().replace("_", "-").startswith("x-pagoda-")
        and PLAIN.fullmatch(value)
    ]
    return [*kept, ("X-Pagoda-Tenant", tenant), (REQUEST_ID_HEADER, request_id)]


class Relay:
    def __init__(self, parts: Parts) -> None:
        self._settings = parts.settings
        self._admission = parts.admission
        self._keys = parts.keys
        self._drain = parts.drain
        self._metrics = parts.metrics
        self._bodies = parts.bodies
        self._responses = parts.responses
        self._clock = parts.clock
        self._begin_trace = parts.begin_trace

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        code, begun_at = CLIENT_LEFT, self._clock()
        with self._drain.track() as taken:
            reply = Reply(request)
            trace = UNTRACED if self._begin_trace is None else self._begin_trace(request)
            try:
                response = await self._answer(request, reply, trace, taken=taken)
                code = response.status
                if code >= 400:
                    request.setdefault(FAILURE, "server")
                return response
            except ClientGone as gone:
                return gone.response
            finally:
                trace.end(code)
                seconds = self._clock() - begun_at
                self._metrics.count_request(code, method=request.method, path=request.path, seconds=seconds)

    async def _answer(self, request: web.Request, reply: Reply, trace: Trace, *, taken: bool) -> web.StreamResponse:
        arrived_at = self._clock()
        reply.close_after = self._drain.draining
        try:
            if not taken:
                raise refuse_after_drain(self._metrics.count_rejected)
            return await self._serve(request, reply, trace, arrived_at)
        except Refusal as refusal:
            _note_failure(request, trace, refusal.code, refusal.status)
            return await reply.fail(refusal)
        except Judged as judged:
            _note_failure(request, trace, "refused_by_server", judged.status)
            return await self._pass_on(judged, reply)
        except ClientGone:
            raise
        except Exception as error:
            _note_failure(request, trace, "internal_error")
            said = "request failed inside the gateway request_id=%s error=%s at=%s"
            log.error(said, request[REQUEST_ID], type(error).__name__, name_place(error))
            return await reply.fail(Refusal(500, "internal_error", "The gateway failed to handle this request."))

    async def _serve(self, request: web.Request, reply: Reply, trace: Trace, arrived_at: float) -> web.StreamResponse:
        tenant = self._admit_tenant(request)
        trace.note_tenant(tenant)
        if (kept := self._responses.answer(request, tenant)) is not None:
            return kept
        takes_turn = request.method == "POST" and request.path in GENERATION_PATHS
        if takes_turn:
            self._admission.refuse_when_full(tenant)
        headers = build_headers(request.headers.items(), tenant, request[REQUEST_ID])
        with self._bodies.open(request, tenant) as held:
            body, wanted = await held.read(), None
            if takes_turn and request.path == RESPONSES:
                body, wanted = await self._responses.prepare(tenant, body)
                held.grow(len(body))
            ticket = None
            if takes_turn:
                with trace.wait():
                    ticket = await self._admission.take_turn(Question(tenant, request.path, headers, body), reply)
            try:
                if ticket is not None:
                    self._metrics.queue_wait_seconds.observe(self._clock() - ticket.arrived_at, trace.exemplar)
                reply.close_after = self._drain.draining
                with trace.call() as carried:
                    exchange = await self._open(request, [*headers, *carried], body, trace)
                    del body  # A long answer does not hold its question.
                    held.let_go()
                    return await self._hand_back(request, Answer(exchange, reply, trace, arrived_at, wanted))
            finally:
                if ticket is not None:
                    self._admission.leave(ticket)

    async def _pass_on(self, judged: Judged, reply: Reply) -> web.StreamResponse:
        if reply.committed:
            return await reply.fail_event(judged.body)
        response = build_written(judged.body, status=judged.status)
        if self._drain.draining:
            response.force_close()
        return response

    def _admit_tenant(self, request: web.Request) -> str:
        if request.method not in METHODS:
            allowed = ", ".join(METHODS)
            message = f"Method not served here: use one of {allowed}."
            raise Refusal(405, "method_not_allowed", message, "invalid_request_error", headers={"Allow": allowed})
        if ".." in request.path.split("/"):
            raise Refusal(404, "not_found", "No such path.", "invalid_request_error")
        return admit_tenant(self._keys, request, self._metrics.count_rejected)

    async def _hand_back(self, request: web.Request, answer: Answer) -> web.StreamResponse:
        exchange, reply, trace = answer.exchange, answer.reply, answer.trace
        is_stream = exchange.head.status == 200 and exchange.head.get("content-type").startswith(SSE)

        def note_first_byte() -> None:
            seconds = self._clock() - answer.arrived_at
            self._metrics.observe_first_byte(seconds, trace.exemplar, is_stream=is_stream)
            trace.note_first_byte()

        try:
            trace.note_head(exchange.head.status)
            if reply.pinged and not is_stream:
                _note_failure(request, trace, "upstream_error")
                return await reply.fail_event(await read_error(exchange, reply.dialect))
            if not reply.committed:
                await reply.start(exchange.head)
            capture = self._responses.begin_capture(answer.wanted, exchange.head, is_chunked=reply.is_chunked)
            return await reply.copy(exchange, note_first_byte, capture)
        except UpstreamBroken as error:
            self._metrics.count_rejected("upstream_broken")
            _note_failure(request, trace, "upstream_broken")
            return await reply.fail(Refusal(502, "upstream_broken", f"The answer is incomplete: {error}."))
        finally:
            exchange.close()

    async def _open(self, request: web.Request, headers: list[tuple[str, str]], body: bytes, trace: Trace) -> Exchange:
        head = build_request_head(request.method, request.rel_url.raw_path_qs, headers, len(body))
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await open_exchange(self._settings.upstream, head, body)
            except (UpstreamUnreachable, UpstreamBroken) as error:
                trace.note_attempt(error)
                attempts = ATTEMPTS if isinstance(error, UpstreamUnreachable) else BROKEN_ATTEMPTS
                if attempt >= attempts:
                    raise self._upstream_refusal(error) from error
                await asyncio.sleep(ATTEMPT_PAUSE_SECONDS * attempt)
        raise AssertionError("unreachable")

    def _upstream_refusal(self, error: UpstreamUnreachable | UpstreamBroken) -> Refusal:
        status, code = (
            (503, "upstream_unreachable") if isinstance(error, UpstreamUnreachable) else (502, "upstream_broken")
        )
        self._metrics.count_rejected(code)
        return Refusal(status, code, f"{error}.".capitalize(), retry_after_seconds=UNREACHABLE_RETRY_SECONDS)


def _note_failure(request: web.Request, trace: Trace, code: str, status: int = 500) -> None:
    request[FAILURE] = code
    trace.fail(code, status)


async def read_error(exchange: Exchange, dialect: Dialect) -> bytes:
    """Returns the server's own error as one JSON value, for a client whose status is already said."""
    raw = await read_document(exchange, ERROR_LIMIT_BYTES)
    try:
        if isinstance(msgspec.json.decode(raw), dict) and exchange.head.status >= 400:
            return raw
    except msgspec.DecodeError:
        log.warning("server error is not JSON status=%d", exchange.head.status)
    return dialect.build_body(Refusal(502, "upstream_error", f"The server answered {exchange.head.status}."))
