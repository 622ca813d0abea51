"""The shape in which every program refuses a request: OpenAI's, so that existing clients show it and know what to do.

A message is written for whoever sent the request: it must never carry a key, a path of this machine or a stack trace.
"""

from typing import Literal

import msgspec

from pagoda_guard.parsing import parse_json

ErrorType = Literal["invalid_request_error", "authentication_error", "rate_limit_error", "server_error"]


class _Error(msgspec.Struct):
    code: str | None = None


class _ErrorBody(msgspec.Struct):
    error: _Error


def build_error(
    message: str, *, error_type: ErrorType, code: str | None, param: str | None = None
) -> dict[str, dict[str, str | None]]:
    """Returns the body of an error, to be written as JSON. `param` names the field of the request that is at fault."""
    return {"error": {"message": message, "type": error_type, "param": param, "code": code}}


def read_error_code(raw: bytes, *, limit_bytes: int) -> str | None:
    """Returns the code of an error that another program wrote, None when it has none. Raises `BadInput`."""
    return parse_json(raw, _ErrorBody, limit_bytes=limit_bytes).error.code
