"""What the HTTP interface of files and batches has in common: who asks, what a drain counts, how failures are told."""

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from aiohttp import web

from pagoda_gateway.auth import KeyRing
from pagoda_gateway.batch.metrics import BatchMetrics
from pagoda_gateway.batch.store import StoreError, StoreFull
from pagoda_gateway.batch.upload import invalid
from pagoda_gateway.body import Bodies
from pagoda_gateway.drain import Drain
from pagoda_gateway.error_answers import build_error_response
from pagoda_gateway.errors import Refusal
from pagoda_gateway.metrics import Metrics
from pagoda_gateway.tenant import admit_tenant, refuse_after_drain
from pagoda_guard.parsing import BadInput, parse_json

log = logging.getLogger(__name__)

STORE_RETRY_SECONDS = 10
CLIENT_LEFT = 499
Handler = Callable[[web.Request, str], Awaitable[web.StreamResponse]]
Plain = Callable[[web.Request], Awaitable[web.StreamResponse]]
T = TypeVar("T")


class Desk:
    """Takes requests for handlers that are told whose each is."""

    def __init__(
        self,
        *,
        keys: KeyRing,
        drain: Drain,
        bodies: Bodies,
        metrics: Metrics,
        batch_metrics: BatchMetrics,
        clock: Callable[[], float],
    ) -> None:
        self._keys = keys
        self._drain = drain
        self._bodies = bodies
        self._metrics = metrics
        self._batch_metrics = batch_metrics
        self._clock = clock

    def wrap(self, path: str, handler: Handler) -> Plain:
        """Returns the handler of a route; `path` is what its requests are counted as."""

        async def answer(request: web.Request) -> web.StreamResponse:
            code, begun_at = CLIENT_LEFT, self._clock()
            try:
                with self._drain.track() as taken:
                    response = await self._answer(request, handler, taken=taken)
                    code = response.status
                    return response
            finally:
                seconds = self._clock() - begun_at
                self._metrics.count_request(code, method=request.method, path=path, seconds=seconds)

        return answer

    async def _answer(self, request: web.Request, handler: Handler, *, taken: bool) -> web.StreamResponse:
        try:
            if not taken:
                raise refuse_after_drain(self._metrics.count_rejected)
            response = await handler(request, admit_tenant(self._keys, request, self._metrics.count_rejected))
        except Refusal as refusal:
            response = build_error_response(refusal)
        except StoreError as error:
            log.warning("the store of batches failed error=%s", error)
            self._batch_metrics.count_store_failure("api")
            response = build_error_response(build_store_refusal(error))
        if self._drain.draining and not response.prepared:
            response.force_close()
        return response

    async def read_json(self, request: web.Request, tenant: str, kind: type[T]) -> T:
        """Returns the body. Raises Refusal."""
        with self._bodies.open(request, tenant) as held:
            raw = await held.read()
        try:
            return parse_json(raw, kind, limit_bytes=len(raw))
        except BadInput as error:
            raise invalid(f"The body is not as it should be: {error}.", code="bad_request") from error


def build_store_refusal(error: StoreError) -> Refusal:
    """Returns what a client is told: never the error's own words, which may name a path."""
    if isinstance(error, StoreFull):
        message = "There is no room left where files are kept: delete some, or tell whoever runs this."
        return Refusal(503, "store_full", message, retry_after_seconds=STORE_RETRY_SECONDS)
    message = "Files cannot be read or written at present: try again later."
    return Refusal(503, "store_unavailable", message, retry_after_seconds=STORE_RETRY_SECONDS)


def read_limit(request: web.Request, *, default: int, most: int) -> int:
    text = request.query.get("limit", str(default))
    limit = int(text) if text.isascii() and text.isdecimal() and len(text) < 8 else 0
    if not 1 <= limit <= most:
        raise invalid(f"limit is {text[:32]!r}: give a whole number from 1 to {most}.", "limit")
    return limit
