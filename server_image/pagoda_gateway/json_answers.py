"""Answers of the gateway's own whose body is JSON."""

import msgspec
from aiohttp import web


def build_json(value: object, *, status: int = 200) -> web.Response:
    return build_written(msgspec.json.encode(value), status=status)


def build_written(body: bytes, *, status: int = 200) -> web.Response:
    """Returns the answer for a body that is written as JSON already."""
    return web.Response(status=status, body=body, content_type="application/json")
