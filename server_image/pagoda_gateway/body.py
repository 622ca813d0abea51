"""The bodies of requests: read within bounds on size, time and all of them together, and counted until handed on.

A byte is counted before it is kept, whatever the head promised. It must never look at what is in a body.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from aiohttp import HttpVersion11, web

from pagoda_gateway.connection import INTERIM
from pagoda_gateway.errors import Refusal
from pagoda_guard.openai_errors import ErrorType

SMALL_BYTES = 64 * 1024
LARGE_SHARE = 0.75
"""The rest of the total is kept for bodies up to `SMALL_BYTES`."""
TENANT_SHARE = 0.5
"""What one of several tenants may have of it."""
SLOWEST_BYTES_PER_SECOND = 16 * 1024
"""Who sends so fast has the time for it, however large the body."""
RETRY_SECONDS = 2


class BodyBudget:
    """How many bytes of bodies are in memory, and whether more may come. Pure."""

    def __init__(self, total_bytes: int, *, tenant_share: float = 1.0) -> None:
        self.held_bytes = 0
        self._total_bytes = total_bytes
        self._tenant_bytes = total_bytes * tenant_share
        self._held_by: Counter[str] = Counter()

    def can_take(self, tenant: str, size: int, *, of: int) -> bool:
        """Returns whether `size` more bytes may be held of a body that is `of` bytes long then."""
        limit_bytes = self._total_bytes * (1.0 if of <= SMALL_BYTES else LARGE_SHARE)
        return self.held_bytes + size <= limit_bytes and self._held_by[tenant] + size <= self._tenant_bytes

    def take(self, tenant: str, size: int) -> None:
        self.held_bytes += size
        self._held_by[tenant] += size

    def give_back(self, tenant: str, size: int) -> None:
        self.held_bytes -= size
        self._held_by[tenant] -= size
        if not self._held_by[tenant]:
            del self._held_by[tenant]


class Body:
    """One request's body; `let_go` once nothing here needs it any more."""

    def __init__(self, bodies: "Bodies", request: web.BaseRequest, tenant: str) -> None:
        self._bodies = bodies
        self._request = request
        self._tenant = tenant
        self._counted_bytes = 0

    async def read(self) -> bytes:
        """Returns the whole body. Raises Refusal.

        NB: it is not `request.read()`, which keeps the body as long as the request.
        """
        if not self._request.body_exists:
            return b""
        self._judge_size(self._request.content_length or 0)
        await invite(self._request)
        try:
            async with asyncio.timeout(self._bodies.seconds) as deadline:
                return await self._collect(deadline)
        except TimeoutError as error:
            message = f"The request's body came too slowly: {self._counted_bytes} bytes were read."
            raise self._bodies.refuse(408, "body_too_slow", message) from error
        except web.RequestPayloadError as error:
            raise self._bodies.refuse(
                400, "bad_request", "The request's body is not framed as HTTP/1.1 requires."
            ) from error

    def grow(self, size: int) -> None:
        """Counts so many bytes that were put to the body here. Raises Refusal where there is no room for them."""
        extra = size - self._counted_bytes
        self._judge_size(size)
        if extra > 0:
            self._bodies.budget.take(self._tenant, extra)
            self._counted_bytes = size

    def let_go(self) -> None:
        """Gives back the bytes that were counted for this body."""
        self._bodies.budget.give_back(self._tenant, self._counted_bytes)
        self._counted_bytes = 0

    async def _collect(self, deadline: asyncio.Timeout) -> bytes:
        """Returns the body, read within the deadline.

        NB: it reads into one buffer; a body that comes in crumbs would be many times its size as a list of them.
        """
        buffer = bytearray()
        begins_at = deadline.when()
        assert begins_at is not None
        while piece := await self._request.content.readany():
            self._judge_size(len(buffer) + len(piece))
            self._bodies.budget.take(self._tenant, len(piece))
            self._counted_bytes += len(piece)
            buffer += piece
            deadline.reschedule(begins_at + len(buffer) / SLOWEST_BYTES_PER_SECOND)
        return bytes(buffer)

    def _judge_size(self, size: int) -> None:
        if size > self._bodies.max_bytes:
            message = f"The request's body is larger than {self._bodies.max_bytes} bytes."
            raise self._bodies.refuse(413, "body_too_large", message)
        if not self._bodies.budget.can_take(self._tenant, size - self._counted_bytes, of=size):
            message = "Too many bytes of requests are being read or wait here: try again later."
            raise self._bodies.refuse(429, "body_bytes_full", message)


class Bodies:
    """The bodies of all requests of one gateway."""

    def __init__(self, budget: BodyBudget, *, max_bytes: int, seconds: float, count: Callable[[str], None]) -> None:
        self.budget = budget
        self.max_bytes = max_bytes
        self.seconds = seconds
        self._count = count

    @contextmanager
    def open(self, request: web.BaseRequest, tenant: str) -> Iterator[Body]:
        body = Body(self, request, tenant)
        try:
            yield body
        finally:
            body.let_go()

    def refuse(self, status: int, code: str, message: str) -> Refusal:
        self._count(code)
        busy = status == 429
        kind: ErrorType = "rate_limit_error" if busy else "invalid_request_error"
        return Refusal(status, code, message, kind, retry_after_seconds=RETRY_SECONDS if busy else None, close=True)


async def invite(request: web.BaseRequest) -> None:
    """Asks a client for its body that waits to be asked."""
    if "Expect" in request.headers and request.version == HttpVersion11:
        await request.writer.write(INTERIM)
        request.writer.output_size = 0


async def ask_for_nothing(request: web.Request) -> None:
    """Takes the place of aiohttp's answer to `Expect`, which would ask for the body of a request that is refused."""
