"""How a refusal, a failed stream and a ping are worded, by whose clients ask on a path.

The shapes are the API's; what is said in them is the same. Pure.
"""

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from pagoda_gateway.errors import Refusal
from pagoda_gateway.paths import MESSAGES, RESPONSES
from pagoda_guard.anthropic_errors import build_anthropic_error
from pagoda_guard.openai_errors import build_error
from pagoda_guard.parsing import BadInput, parse_json

EVENT_LIMIT_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Dialect:
    build_body: Callable[[Refusal], bytes]
    build_event: Callable[[bytes], bytes]
    """Returns one server-sent event that ends a stream with an error, whose body is given as one JSON value."""
    ping: bytes = b": ping\n\n"


def _build_openai_body(refusal: Refusal) -> bytes:
    said = build_error(refusal.message, error_type=refusal.type, code=refusal.code, param=refusal.param)
    return msgspec.json.encode(said)


def _build_anthropic_body(refusal: Refusal) -> bytes:
    return msgspec.json.encode(build_anthropic_error(refusal.message, status=refusal.status))


def _pack(body: bytes) -> bytes:
    """Returns the JSON as one line, since a newline would end the field of the event."""
    return msgspec.json.format(body, indent=-1)


def _build_openai_event(body: bytes) -> bytes:
    return b"data: " + _pack(body) + b"\n\n"


def _build_anthropic_event(body: bytes) -> bytes:
    return b"event: error\ndata: " + _pack(body) + b"\n\n"


def _build_responses_event(body: bytes) -> bytes:
    """Returns the event both as the Responses API has it and with `error`, by which client libraries raise."""
    try:
        said = parse_json(body, dict[str, object], limit_bytes=EVENT_LIMIT_BYTES)
        error = msgspec.convert(said.get("error"), dict[str, object])
    except (BadInput, msgspec.ValidationError):
        return _build_openai_event(body)
    named = {name: error.get(name) for name in ("code", "message", "param")}
    return b"event: error\ndata: " + msgspec.json.encode({"type": "error", **named, "error": error}) + b"\n\n"


OPENAI = Dialect(_build_openai_body, _build_openai_event)
OPENAI_RESPONSES = Dialect(_build_openai_body, _build_responses_event)
ANTHROPIC = Dialect(_build_anthropic_body, _build_anthropic_event, b'event: ping\ndata: {"type": "ping"}\n\n')


def choose_dialect(path: str) -> Dialect:
    if path == RESPONSES:
        return OPENAI_RESPONSES
    return ANTHROPIC if path == MESSAGES or path.startswith(f"{MESSAGES}/") else OPENAI
