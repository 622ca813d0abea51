"""What every answer bears, whatever it says: the request's id, and leave for a page of another site to read it.

Server, logs and traces are told the id too.
"""

from collections.abc import Sequence

from aiohttp import web
from multidict import CIMultiDict

from pagoda_gateway.cors import Cors
from pagoda_gateway.dialects import ANTHROPIC, choose_dialect
from pagoda_guard.request_id import REQUEST_ID_HEADER, choose_request_id

REQUEST_ID = web.RequestKey("request_id", str)
STAMP = web.RequestKey("stamp", Sequence[tuple[str, str]])


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
