"""Refusals in the shape OpenAI's clients understand, so that their own retry and messages work.

Must never carry a key, a path of this machine or a stack trace to a client.
"""

from dataclasses import dataclass, field

import msgspec
from aiohttp import web


@dataclass(eq=False)
class Refusal(Exception):
    status: int
    code: str
    message: str
    type: str = "server_error"
    retry_after_seconds: int | None = None
    close: bool = False
    headers: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.status} {self.code}: {self.message}"


def build_error_body(refusal: Refusal) -> bytes:
    error = {"message": refusal.message, "type": refusal.type, "param": None, "code": refusal.code}
    return msgspec.json.encode({"error": error})


def build_error_event(body: bytes) -> bytes:
    """One server-sent event; the JSON is packed to one line, since a newline would end the field."""
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
