"""What every answer bears, whatever it says: the request's id, and leave for a page of another site to read it.

A request's id is its client's where that is well formed, else made here. Server, logs and traces are told it too.
"""

import re
import secrets
from collections.abc import Sequence

from aiohttp import web
from multidict import CIMultiDict

from pagoda_gateway.cors import Cors
from pagoda_gateway.dialects import ANTHROPIC, choose_dialect

REQUEST_ID_HEADER = "X-Request-Id"
WELL_FORMED = re.compile(r"[\x21-\x7e]{1,128}")
REQUEST_ID = web.RequestKey("request_id", str)
STAMP = web.RequestKey("stamp", Sequence[tuple[str, str]])


def choose_request_id(wish: str | None) -> str:
    return wish if wish is not None and WELL_FORMED.fullmatch(wish) else f"req_{secrets.token_hex(12)}"


def begin_stamp(request: web.BaseRequest, cors: Cors) -> None:
    """Notes on the request what its answer is to bear."""
    request[REQUEST_ID] = request_id = choose_request_id(request.headers.get(REQUEST_ID_HEADER))
    # NB: Anthropic's client libraries read the id from a header of another name.
    named = [("Request-Id", request_id)] if choose_dialect(request.path) is ANTHROPIC else []
    request[STAMP] = [(REQUEST_ID_HEADER, request_id), *named, *cors.build_headers(request)]


def stamp(request: web.BaseRequest, headers: CIMultiDict[str]) -> None:
    """Sets on the answer's headers, before they go out, what was noted."""
    for name, value in request.get(STAMP, ()):
        if name == "Vary":
            headers.add(name, value)
        else:
            headers[name] = value
