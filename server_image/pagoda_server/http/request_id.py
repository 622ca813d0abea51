"""A request's id on the server: noted where it is first asked for, and on every answer."""

from aiohttp import web

from pagoda_guard.request_id import REQUEST_ID_HEADER, choose_request_id

REQUEST_ID = web.RequestKey("request_id", str)


def note_request_id(request: web.BaseRequest) -> str:
    """Returns the request's id, the same however often it is asked for."""
    if REQUEST_ID not in request:
        request[REQUEST_ID] = choose_request_id(request.headers.get(REQUEST_ID_HEADER))
    return request[REQUEST_ID]


async def return_request_id(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Sets the id on an answer, before its headers go out."""
    response.headers[REQUEST_ID_HEADER] = note_request_id(request)
