"""Every refusal in OpenAI's shape, so that existing clients show the field, the value and the fix."""

import reprlib
from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import web
from pydantic import ValidationError

# How much of a pydantic location names a field; the rest names members of a union.
LOCATION_DEPTH: Mapping[str, int] = {"messages": 3, "stream_options": 2, "response_format": 2}
HINTS: Mapping[str, str] = {
    "stop": "give one non-empty string or at most 4",
    "n": "give 1 to 16",
    "top_logprobs": "give 0 to 20, together with logprobs: true",
    "prompt": "give a string, a list of strings, a list of token ids, or a list of lists of token ids",
    "messages": "give a list of {role, content}; content is a string or a list of {type: text, text} parts",
}
MAX_SHOWN_CHARACTERS = 80
_show = reprlib.Repr()
_show.maxstring = _show.maxother = _show.maxlong = MAX_SHOWN_CHARACTERS


class ApiError(Exception):
    def __init__(self, message: str, *, status: int = 400, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.param = param
        self.code = code

    def body(self) -> dict[str, Any]:
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


def error_response(error: ApiError) -> web.Response:
    headers = {"Retry-After": "1"} if error.status == 503 else None
    return web.Response(
        body=orjson.dumps(error.body()), status=error.status, content_type="application/json", headers=headers
    )


def from_validation(error: ValidationError) -> ApiError:
    first = error.errors(include_url=False, include_context=False)[0]
    location = first["loc"]
    root = str(location[0]) if location else ""
    param = ".".join(_shorten(str(part)) for part in location[: LOCATION_DEPTH.get(root, 1)]) or None
    if first["type"] == "extra_forbidden":
        return ApiError(f"{param} is not a field of this API; remove it", param=param, code="unknown_parameter")
    if first["type"] == "missing":
        return ApiError(f"{param} is missing; give it", param=param, code="missing_required_parameter")
    shown = _shorten(_show.repr(first["input"]))
    hint = f"; {HINTS[root]}" if root in HINTS else ""
    message = first["msg"].removeprefix("Value error, ")
    return ApiError(f"{param or 'the body'} is {shown}: {message}{hint}", param=param, code="invalid_value")


def _shorten(text: str) -> str:
    return text if len(text) <= MAX_SHOWN_CHARACTERS else text[:MAX_SHOWN_CHARACTERS] + "…"


def model_not_found(name: str, served: str) -> ApiError:
    return ApiError(
        f"the model {_shorten(name)!r} does not exist here; use {served!r}",
        status=404,
        param="model",
        code="model_not_found",
    )


def context_length_exceeded(prompt: int, answer: int, limit: int, param: str) -> ApiError:
    return ApiError(
        f"this model's maximum context length is {limit} tokens, but the prompt has {prompt} and the answer may have "
        f"{answer}; shorten the prompt or lower max_tokens",
        param=param,
        code="context_length_exceeded",
    )


def prompt_too_long(at_least: int, limit: int, param: str) -> ApiError:
    """As `context_length_exceeded`, when the prompt was not even encoded."""
    return ApiError(
        f"this model's maximum context length is {limit} tokens, but the prompt has {at_least} or more; shorten it",
        param=param,
        code="context_length_exceeded",
    )
