"""Server-sent events: one write a delta, no buffering by proxies, errors after the first byte as an event."""

from collections.abc import AsyncIterator
from typing import Any

import orjson
from aiohttp import web

from pagoda_server.http.errors import ApiError

HEADERS = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


def event(value: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(value) + b"\n\n"


async def stream_events(request: web.Request, events: AsyncIterator[dict[str, Any]]) -> web.StreamResponse:
    """The first event is awaited before the headers, so that a refusal by the engine still has its status."""
    first = await anext(events)
    response = web.StreamResponse(headers=HEADERS)
    await response.prepare(request)
    await response.write(event(first))
    try:
        async for value in events:
            await response.write(event(value))
    except ApiError as error:
        await response.write(event(error.body()))
    await response.write(b"data: [DONE]\n\n")
    await response.write_eof()
    return response
