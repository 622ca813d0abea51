"""Which web pages of other sites may read answers here, and what their browsers are told before they ask.

A browser asks first (a preflight, without the key) and hides the answer unless it says whose page may read it. By
default nobody is told anything. It never decides whether a request is taken: a program sends any Origin it likes.
"""

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from aiohttp import web

from pagoda_gateway.errors import Refusal
from pagoda_guard.origins import ANY

HEADER_NAMES = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~, \t-]{1,1024}", re.ASCII)
METHODS = "GET, HEAD, POST, DELETE"
EXPOSED = "X-Request-Id, Request-Id, Retry-After"
KEPT_SECONDS = 600
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Headers = Sequence[tuple[str, str]]


def is_preflight(request: web.BaseRequest) -> bool:
    return (
        request.method == "OPTIONS"
        and "Origin" in request.headers
        and "Access-Control-Request-Method" in request.headers
    )


@dataclass(frozen=True, slots=True)
class Cors:
    origins: frozenset[str] = frozenset()
    """As `parse_origins` returns them; none: no page of another site reads anything."""

    def allows(self, origin: str) -> bool:
        return ANY in self.origins or origin.lower() in self.origins

    def build_headers(self, request: web.BaseRequest) -> Headers:
        """Returns what an answer bears so that the page that asked may read it."""
        if not self.origins:
            return ()
        vary = () if ANY in self.origins else (("Vary", "Origin"),)
        origin = request.headers.get("Origin")
        if origin is None or not self.allows(origin):
            return vary
        allowed = ANY if ANY in self.origins else origin
        return (("Access-Control-Allow-Origin", allowed), ("Access-Control-Expose-Headers", EXPOSED), *vary)

    @web.middleware
    async def answer_preflight(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answers a browser that asks before it sends a page's request, without a key: it has none then."""
        if not is_preflight(request):
            return await handler(request)
        if not self.allows(request.headers["Origin"]):
            message = "Pages of this Origin may not ask this gateway: see --cors-allowed-origins."
            raise Refusal(403, "forbidden_origin", message, "invalid_request_error")
        wanted = request.headers.get("Access-Control-Request-Headers", "")
        named = {"Access-Control-Allow-Headers": wanted} if HEADER_NAMES.fullmatch(wanted) else {}
        kept = {"Access-Control-Max-Age": str(KEPT_SECONDS)}
        return web.Response(status=204, headers={"Access-Control-Allow-Methods": METHODS, **named, **kept})


NO_CORS = Cors()
