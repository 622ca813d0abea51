"""Every refusal in OpenAI's shape, so that existing clients show the field, the value and the fix.

What a client sent is quoted shortly if at all, and never with a control character.
"""

from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import web
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from pagoda_guard.anthropic_errors import build_anthropic_error
from pagoda_guard.openai_errors import ErrorType, build_error
from pagoda_server.http.fields import NOT_YET, UNSUPPORTED
from pagoda_server.http.fixes import FIXES, LOCATION_DEPTH, UNBUILT_VALUES
from pagoda_server.http.refusals import REFUSALS
from pagoda_server.http.strict import FORM_TAGS, NO_CONTENT, OTHER_ROLE

MAX_SHOWN_CHARACTERS = 80
MAX_MESSAGE_CHARACTERS = 900


class RequestError(Exception):
    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = _shorten(_printable(message), MAX_MESSAGE_CHARACTERS)
        self.status = status
        self.param = None if param is None else _printable(param)
        self.code = code
        self.headers = dict(headers or {})

    def body(self) -> dict[str, dict[str, str | None]]:
        error_type: ErrorType = "server_error" if self.status >= 500 else "invalid_request_error"
        return build_error(self.message, error_type=error_type, code=self.code, param=self.param)


def error_response(error: RequestError, *, for_anthropic: bool = False) -> web.Response:
    """Returns the refusal as OpenAI's clients know it, or Anthropic's."""
    retry = {"Retry-After": "1"} if error.status == 503 else {}
    body: Mapping[str, object] = error.body()
    if for_anthropic:
        body = build_anthropic_error(error.message, status=error.status, code=error.code)
    return web.Response(
        body=orjson.dumps(body),
        status=error.status,
        content_type="application/json",
        headers={**retry, **error.headers},
    )


def from_validation(error: ValidationError) -> RequestError:
    first = error.errors(include_url=False)[0]
    location = [part for part in first["loc"] if part not in FORM_TAGS or first["type"] == "extra_forbidden"]
    if "field" in first.get("ctx", {}):
        location.append(first["ctx"]["field"])
    root = str(location[0]) if location else ""
    named = location[: LOCATION_DEPTH.get(root, 1)]
    param = ".".join(_shorten(str(part)) for part in named) or None
    verb = "is" if len(named) == len(location) else "holds"
    path = ".".join(part for part in named if isinstance(part, str))
    return _say(first, param, verb, path)


def _say(first: ErrorDetails, param: str | None, verb: str, path: str) -> RequestError:
    kind, value = first["type"], first["input"]
    if kind == "extra_forbidden":
        return RequestError(f"{param} is not a field of this API; remove it", param=param, code="unknown_parameter")
    if kind == "missing":
        return RequestError(f"{param} is missing; give it", param=param, code="missing_required_parameter")
    if kind == OTHER_ROLE:
        role = first["ctx"]["role"]
        return RequestError(f"{param} is for messages of role {role}; remove it", param=param, code="invalid_value")
    if kind == UNSUPPORTED:
        why = REFUSALS.get(path, f"{NOT_YET}; remove it")
        return RequestError(f"{param} {why}", param=param, code="unsupported_parameter")
    if isinstance(value, str) and value in UNBUILT_VALUES.get(path, ()):
        return _say_unbuilt(value, param or "", path)
    shown = "null" if kind == NO_CONTENT else show(value)
    fix = f"; {FIXES[path]}" if path in FIXES else ": " + first["msg"].removeprefix("Value error, ")
    return RequestError(f"{param or 'the body'} {verb} {shown}{fix}", param=param, code="invalid_value")


def _say_unbuilt(value: str, param: str, path: str) -> RequestError:
    """Returns the refusal of a value that is not built.

    NB: a response format is one parameter, whatever of it is not built.
    """
    named = "response_format" if path == "response_format.type" else param
    return RequestError(f"{param} {value} {NOT_YET}; {FIXES[path]}", param=named, code="unsupported_parameter")


def show(value: Any) -> str:
    """Returns a value in a few words: a text may be somebody's prompt."""
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return "an object"
    return _shorten(orjson.dumps(value).decode())


def _shorten(text: str, maximum: int = MAX_SHOWN_CHARACTERS) -> str:
    return text if len(text) <= maximum else text[:maximum] + "…"


def _printable(text: str) -> str:
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)


def model_not_found(name: str, served: str) -> RequestError:
    return RequestError(
        f"the model {_shorten(name)!r} does not exist here; use {served!r}",
        status=404,
        param="model",
        code="model_not_found",
    )


def context_length_exceeded(prompt: int, limit: int, param: str) -> RequestError:
    """Returns the refusal of a prompt that leaves no room for an answer."""
    return RequestError(
        f"this model's maximum context length is {limit} tokens, but the prompt has {prompt}; "
        "shorten it, or give truncate_prompt_tokens",
        param=param,
        code="context_length_exceeded",
    )


def prompt_too_long(at_least: int, limit: int, param: str) -> RequestError:
    """Returns the same refusal as `context_length_exceeded`, when nothing else of the request was looked at."""
    return RequestError(
        f"this model's maximum context length is {limit} tokens, but the prompt has {at_least} or more; "
        "shorten it, or give truncate_prompt_tokens",
        param=param,
        code="context_length_exceeded",
    )
