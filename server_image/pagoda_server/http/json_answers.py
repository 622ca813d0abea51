"""Answers whose body is one JSON document."""

import orjson
from aiohttp import web


def build_json(value: dict[str, object], *, status: int = 200) -> web.Response:
    return build_written(orjson.dumps(value), status=status)


def build_written(body: bytes, *, status: int = 200) -> web.Response:
    """Returns the answer for a body that is written as JSON already."""
    return web.Response(body=body, status=status, content_type="application/json")
