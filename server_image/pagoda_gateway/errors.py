"""Refusals in the shape OpenAI's clients understand, so that their own retry and messages work.

Must never carry a key, a path of this machine or a stack trace to a client.
"""

import traceback
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path

import msgspec
from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from pagoda_guard.openai_errors import ErrorType, build_error

HEADERS_LIMIT = 100
LINE_LIMIT_BYTES = 8190


@dataclass(eq=False)
class Refusal(Exception):
    status: int
    code: str
    message: str
    type: ErrorType = "server_error"
    retry_after_seconds: int | None = None
    close: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    param: str | None = None
    """The field of the request that is at fault."""

    def __str__(self) -> str:
        return f"{self.status} {self.code}: {self.message}"


def build_error_body(refusal: Refusal) -> bytes:
    error = build_error(refusal.message, error_type=refusal.type, code=refusal.code, param=refusal.param)
    return msgspec.json.encode(error)


def build_error_event(body: bytes) -> bytes:
    """Returns one server-sent event; the JSON is packed to one line, since a newline would end the field."""
    return b"data: " + msgspec.json.format(body, indent=-1) + b"\n\n"


def build_error_response(refusal: Refusal) -> web.Response:
    headers = dict(refusal.headers)
    if refusal.retry_after_seconds is not None:
        headers["Retry-After"] = str(max(refusal.retry_after_seconds, 1))
    response = web.Response(
        status=refusal.status, body=build_error_body(refusal), content_type="application/json", headers=headers
    )
    if refusal.close:
        response.force_close()
    return response


def build_raw_refusal(refusal: Refusal) -> bytes:
    """Returns the whole answer as bytes, for a connection that is not worth a parser."""
    body = build_error_body(refusal)
    retry_after = f"Retry-After: {refusal.retry_after_seconds}\r\n" if refusal.retry_after_seconds else ""
    head = (
        f"HTTP/1.1 {refusal.status} {HTTPStatus(refusal.status).phrase}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n{retry_after}Connection: close\r\n\r\n"
    )
    return head.encode() + body


def read_http_error(error: web.HTTPException) -> Refusal:
    """Returns aiohttp's own refusals, those of its router, in our shape; a 405 says what is allowed."""
    headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
    code = error.reason.lower().replace(" ", "_")
    return Refusal(error.status, code, f"{error.reason}.", "invalid_request_error", headers=headers)


def name_place(error: BaseException | None) -> str:
    """Returns where it was raised, for a log that must not repeat what it says."""
    place = traceback.extract_tb(error.__traceback__)[-1:] if error is not None else []
    return f"{Path(place[0].filename).name}:{place[0].lineno}" if place else "unknown"


def build_bytes_refusal(status: int, error: BaseException | None) -> Refusal:
    """Returns the refusal of bytes that are no request. NB: never with the error's own words, which repeat them."""
    if status == 431 or isinstance(error, LineTooLong) or "Too many headers" in str(error):
        message = f"The request's head is too large: {HEADERS_LIMIT} lines, each at most {LINE_LIMIT_BYTES} bytes."
        return Refusal(431, "head_too_large", message, "invalid_request_error", close=True)
    return Refusal(400, "bad_request", "This is not a valid HTTP/1.1 request.", "invalid_request_error", close=True)
