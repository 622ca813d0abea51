"""One line of the log for each request that failed, by the id that its client was told: so that both find it again.

A bounded number of lines a second: else anyone could fill the disk. Of what is in a request, a line has only its id.
"""

import logging
from collections.abc import Callable

from aiohttp import web

from pagoda_gateway.paths import OTHER_ROUTE, name_route
from pagoda_gateway.request_head import METHODS
from pagoda_gateway.stamp import REQUEST_ID

log = logging.getLogger(__name__)

LINES_A_SECOND = 20
FAILURE = web.RequestKey("failure", str)
"""Why the request failed: a code of ours, or "server" where the answer is the server's own."""


class FailureLog:
    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began_at = -float("inf")
        self._lines = 0
        self._left_out = 0

    def note(self, request: web.BaseRequest, status: int) -> None:
        """Logs the request's failure, if one was noted on it."""
        code = request.get(FAILURE)
        if code is None or not self._may_log():
            return
        level = logging.INFO if 400 <= status < 500 else logging.WARNING
        method = request.method if request.method in METHODS else OTHER_ROUTE
        said = "request failed request_id=%s status=%d code=%s method=%s route=%s"
        log.log(level, said, request.get(REQUEST_ID, ""), status, code, method, name_route(request.path))

    def _may_log(self) -> bool:
        now = self._clock()
        if now - self._began_at >= 1.0:
            if self._left_out:
                log.warning("failed requests are not in the log count=%d", self._left_out)
            self._began_at, self._lines, self._left_out = now, 0, 0
        self._lines += 1
        may = self._lines <= LINES_A_SECOND
        self._left_out += not may
        return may
