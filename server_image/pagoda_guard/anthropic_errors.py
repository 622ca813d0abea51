"""The shape in which Anthropic's clients expect a refusal: they go by the status, and show the rest.

A message is written for whoever sent the request: it must never carry a key, a path of this machine or a stack trace.
"""

from typing import Literal

AnthropicErrorType = Literal[
    "invalid_request_error",
    "authentication_error",
    "permission_error",
    "not_found_error",
    "request_too_large",
    "rate_limit_error",
    "api_error",
    "overloaded_error",
    "timeout_error",
]
TYPES: dict[int, AnthropicErrorType] = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


def name_type(status: int) -> AnthropicErrorType:
    """Returns the type that goes with a status."""
    return TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")


def build_anthropic_error(message: str, *, status: int, code: str | None = None) -> dict[str, object]:
    """Returns the body of an error, to be written as JSON. Anthropic's client goes by the code of some refusals."""
    details = {} if code is None else {"details": {"error_code": code}}
    return {"type": "error", "error": {"type": name_type(status), "message": message, **details}}
