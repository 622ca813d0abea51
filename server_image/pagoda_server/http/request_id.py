"""The id by which client, gateway and server speak of one request: taken where it is well formed, else made here."""

import re
import secrets

from aiohttp import web

HEADER = "X-Request-Id"
WELL_FORMED = re.compile(r"[\x21-\x7e]{1,128}")
REQUEST_ID = web.RequestKey("request_id", str)


def note_request_id(request: web.BaseRequest) -> str:
    """Returns the request's id, the same however often it is asked for."""
    if REQUEST_ID in request:
        return request[REQUEST_ID]
    wish = request.headers.get(HEADER, "")
    request[REQUEST_ID] = chosen = wish if WELL_FORMED.fullmatch(wish) else f"req_{secrets.token_hex(12)}"
    return chosen


async def return_request_id(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Sets the id on an answer, before its headers go out."""
    response.headers[HEADER] = note_request_id(request)
