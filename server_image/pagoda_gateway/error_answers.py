"""Refusals as whole answers: a status, the headers that say when to come again, and a body in the client's dialect."""

from http import HTTPStatus

from aiohttp import web

from pagoda_gateway.dialects import OPENAI, Dialect
from pagoda_gateway.errors import Refusal


def build_error_response(refusal: Refusal, dialect: Dialect = OPENAI) -> web.Response:
    headers = dict(refusal.headers)
    if refusal.retry_after_seconds is not None:
        headers["Retry-After"] = str(max(refusal.retry_after_seconds, 1))
    body = dialect.build_body(refusal)
    response = web.Response(status=refusal.status, body=body, content_type="application/json", headers=headers)
    if refusal.close:
        response.force_close()
    return response


def build_raw_refusal(refusal: Refusal) -> bytes:
    """Returns the whole answer as bytes, for a connection that is not worth a parser."""
    body = OPENAI.build_body(refusal)
    retry_after = f"Retry-After: {refusal.retry_after_seconds}\r\n" if refusal.retry_after_seconds else ""
    head = (
        f"HTTP/1.1 {refusal.status} {HTTPStatus(refusal.status).phrase}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n{retry_after}Connection: close\r\n\r\n"
    )
    return head.encode() + body
