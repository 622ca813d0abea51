"""Where a body is read, checked and encoded: a small one on the event loop, a larger one beside it.

Streams share that loop, and encoding a megabyte takes a second or more; a thread is reached in 50 µs. The encoder lets
other threads run. What does not (JSON, validation, the template) is bounded by the body's size and ends at the first
error. The largest bodies have threads of their own, few and with a bounded queue: nobody else waits behind them, and
what encoding them takes of the memory is bounded.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from aiohttp import hdrs, web
from multidict import CIMultiDictProxy

from pagoda_server.http.errors import RequestError

INLINE_BYTES = 2048
"""A millisecond or two of encoding on a slow core, below the time between two tokens; `bench/front/large_bodies.py`."""
LARGE_BYTES = 64 * 1024
THREADS = 4
LARGE_THREADS = 1
"""It may take some hundred megabytes while it encodes 4 MiB."""
MAX_LARGE_WAITING = 8
UNTYPED = "application/octet-stream"
Read = TypeVar("Read")


class Intake:
    """The threads of one front that read bodies."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="bodies")
        self._large_pool = ThreadPoolExecutor(LARGE_THREADS, thread_name_prefix="large-bodies")
        self._large: list[Future[Any]] = []

    async def read(self, request: web.Request, read: Callable[[bytes], Read]) -> Read:
        """Returns what `read` makes of the body. Raises `RequestError`.

        `read` must be pure: nobody waits for it when the client has gone away.
        """
        check_headers(request.headers)
        raw = await request.read()
        if len(raw) <= INLINE_BYTES:
            return read(raw)
        if len(raw) <= LARGE_BYTES:
            return await asyncio.wrap_future(self._pool.submit(read, raw))
        return await asyncio.wrap_future(self._submit_large(read, raw))

    async def run(self, work: Callable[[], Read], *, is_heavy: bool) -> Read:
        """Returns what `work` makes: heavy work beside the event loop."""
        return await asyncio.wrap_future(self._pool.submit(work)) if is_heavy else work()

    def close(self) -> None:
        for pool in (self._pool, self._large_pool):
            pool.shutdown(wait=False, cancel_futures=True)

    def _submit_large(self, read: Callable[[bytes], Read], raw: bytes) -> "Future[Read]":
        self._large = [work for work in self._large if not work.done()]
        if len(self._large) >= LARGE_THREADS + MAX_LARGE_WAITING:
            raise RequestError(
                f"{len(self._large)} requests above {LARGE_BYTES} bytes are being read; try again",
                status=503,
                code="busy",
            )
        work = self._large_pool.submit(read, raw)
        self._large.append(work)
        return work


def check_headers(headers: CIMultiDictProxy[str]) -> None:
    """Raises `RequestError` for a body that is not JSON as it is.

    Nothing is inflated, and no form that another site's page can send is taken.
    """
    encodings = {value.strip().lower() for value in headers.getall(hdrs.CONTENT_ENCODING, ())}
    if encodings - {"", "identity"}:
        raise RequestError(
            "the body has a Content-Encoding; send it as it is, without one", status=415, code="unsupported_encoding"
        )
    kind = headers.get(hdrs.CONTENT_TYPE, "").partition(";")[0].strip().lower()
    if kind not in ("", UNTYPED, "application/json") and not kind.endswith("+json"):
        raise RequestError(
            f"Content-Type is {kind[:80]}; send application/json", status=415, code="unsupported_media_type"
        )
