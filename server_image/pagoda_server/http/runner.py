"""How aiohttp serves the routes: bodies as they were sent, and what is not HTTP refused in the one shape.

Nothing that a client sent is logged: of an error its kind and the place in the code, not its words.
"""

import logging
import traceback
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import BadHttpMethod, HttpProcessingError, LineTooLong

from pagoda_server.http.errors import RequestError, error_response

log = logging.getLogger(__name__)
KEEPALIVE_SECONDS = 75.0


def build_runner(app: web.Application, *, keepalive_seconds: float = KEEPALIVE_SECONDS) -> web.AppRunner:
    return _Runner(
        app,
        handler_cancellation=True,
        access_log=None,
        auto_decompress=False,
        logger=log,
        keepalive_timeout=keepalive_seconds,
    )


def log_failure(error: BaseException, request_id: str = "") -> None:
    """Logs the error's kind and where it was raised. NB: its words may hold a prompt."""
    place = "".join(traceback.format_tb(error.__traceback__))
    log.error("request failed request_id=%s kind=%s at=\n%s", request_id, type(error).__name__, place)


class _Protocol(web.RequestHandler):
    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if isinstance(exc, HttpProcessingError):
            response = error_response(_describe_unreadable(exc))
            self.logger.info("request not readable kind=%s", type(exc).__name__)
        else:
            log_failure(exc or RuntimeError())
            if request.writer.output_size > 0:
                raise ConnectionError("the answer had begun")
            response = error_response(RequestError("internal error", status=500, code="internal_error"))
        response.force_close()
        return response

    def log_exception(self, *args: Any, **kw: Any) -> None:
        log_failure(kw.get("exc_info") or RuntimeError())


class _Server(web.Server):
    def __call__(self) -> web.RequestHandler:
        return _Protocol(self, loop=self._loop, **self._kwargs)


class _Runner(web.AppRunner):
    __slots__ = ()

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        return _Server(
            partial(_answer_in_shape, server.request_handler),
            request_factory=server.request_factory,
            handler_cancellation=server.handler_cancellation,
            **server._kwargs,
        )


async def _answer_in_shape(
    handle: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], request: web.BaseRequest
) -> web.StreamResponse:
    """Answers in one shape what aiohttp refuses before the routes are asked, such as an unknown `Expect`."""
    try:
        return await handle(request)
    except web.HTTPException as error:
        return error_response(RequestError(error.reason, status=error.status))


def _describe_unreadable(error: HttpProcessingError) -> RequestError:
    """Returns the refusal of what is no request. NB: aiohttp's own words quote it."""
    if isinstance(error, LineTooLong):
        return RequestError(
            "a line of the request's head is too long; send a shorter one", status=431, code="headers_too_large"
        )
    if isinstance(error, BadHttpMethod):
        return RequestError("this is not an HTTP/1.1 request; send one", code="bad_request")
    return RequestError("the request's head is malformed; send valid HTTP/1.1", code="bad_request")
