"""Server-sent events: what is new in one write, no buffering by proxies, errors after the first byte as an event."""

from collections.abc import AsyncIterator
from typing import Any

import orjson
from aiohttp import web

from pagoda_server.http.errors import ApiError

HEADERS = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


def build_event(value: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(value) + b"\n\n"


async def stream_events(request: web.Request, events: AsyncIterator[bytes]) -> web.StreamResponse:
    """The first events are awaited before the headers, so that a refusal by the engine still has its status."""
    first = await anext(events)
    response = web.StreamResponse(headers=HEADERS)
    await response.prepare(request)
    await response.write(first)
    try:
        async for more in events:
            await response.write(more)
    except ApiError as error:
        await response.write(build_event(error.body()))
    await response.write(b"data: [DONE]\n\n")
    await response.write_eof()
    return response
