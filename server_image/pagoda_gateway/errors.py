"""What is refused, and why, in words for whoever asked; `dialects` gives it the shape that their client understands.

Must never carry a key, a path of this machine or a stack trace to a client.
"""

import traceback
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from pagoda_guard.openai_errors import ErrorType

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
    param: str | None = None
    """The field at fault."""
    headers: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.status} {self.code}: {self.message}"


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
