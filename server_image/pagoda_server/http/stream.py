"""Server-sent events: what is new in one write, no buffering by proxies, errors after the first byte as an event."""

from typing import Any, Protocol

import orjson
from aiohttp import web

from pagoda_server.http.errors import RequestError

HEADERS = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


DONE = b"data: [DONE]\n\n"


def build_event(value: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(value) + b"\n\n"


def build_typed_event(value: dict[str, Any]) -> bytes:
    """Returns an event of an API whose events have a type, which is their name too."""
    return b"event: " + str(value["type"]).encode() + b"\n" + build_event(value)


class EventSource(Protocol):
    async def next(self) -> bytes:
        """Returns what to write now; empty at the end."""

    def build_last(self) -> bytes:
        """Returns what to write at the end, behind all events."""

    def build_failure(self, error: RequestError) -> bytes:
        """Returns what to write in place of the rest."""


async def stream_events(request: web.Request, events: EventSource) -> web.StreamResponse:
    """Writes the events as they come.

    The first ones are awaited before the headers are sent, so that a refusal by the engine still has its status.
    """
    news = await events.next()
    response = web.StreamResponse(headers=HEADERS)
    await response.prepare(request)
    try:
        while news:
            await response.write(news)
            news = await events.next()
        last = events.build_last()
    except RequestError as error:
        last = events.build_failure(error)
    await response.write(last)
    await response.write_eof()
    return response
