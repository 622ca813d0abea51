"""The messages of a conversation, fitted to the template that will write them.

Templates differ in what they want of one and the same history. Clients are told none of it: each difference that is
known is evened out here, and what is left a template refuses in its own words.
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

from pagoda_server.text.template import Template

SHORT_ID_CHARACTERS = 9
WANTS_SHORT_IDS = "length != 9"
"""In the templates of Mistral's models, which refuse any other id of a call."""
REASONING_NAMES = ("reasoning_content", "reasoning", "thinking")
"""What templates call the reasoning of an earlier answer."""


def fit_messages(messages: Sequence[dict[str, Any]], template: Template) -> list[dict[str, Any]]:
    """Returns the messages as this template wants them.

    Each may have role, content (None: nothing was said), name, tool_calls, tool_call_id and reasoning_content.
    """
    names = [name for name in REASONING_NAMES if template.mentions(name)]
    fitted = [_fit_one(message, names, null_content=template.takes_null_content) for message in _name_calls(messages)]
    return [_shorten_ids(message) for message in fitted] if WANTS_SHORT_IDS in template.source else fitted


def make_short_id(text: str) -> str:
    """Returns nine letters and digits, the same for the same id."""
    is_short = len(text) == SHORT_ID_CHARACTERS and text.isalnum() and text.isascii()
    return text if is_short else hashlib.sha256(text.encode()).hexdigest()[:SHORT_ID_CHARACTERS]


def _name_calls(messages: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yields the messages, each call with an id, each result with the id and the name of its call.

    NB: old clients know no ids, and results come in the order of the calls; others leave out the name.
    """
    names: dict[str, str] = {}
    unanswered: list[str] = []
    for at, message in enumerate(messages):
        if calls := message.get("tool_calls"):
            calls = [{**call, "id": call.get("id") or f"call_{at}_{index}"} for index, call in enumerate(calls)]
            names |= {call["id"]: call["function"]["name"] for call in calls}
            unanswered = [call["id"] for call in calls]
            message = {**message, "tool_calls": calls}
        elif message["role"] == "tool":
            call_id = message.get("tool_call_id") or _find_call(unanswered, names, message.get("name"))
            if call_id in unanswered:
                unanswered.remove(call_id)
            name = message.get("name") or names.get(call_id or "")
            more = {"tool_call_id": call_id, "name": name}
            message = {**message, **{key: value for key, value in more.items() if value}}
        yield message


def _find_call(unanswered: Sequence[str], names: dict[str, str], name: str | None) -> str | None:
    return next((call_id for call_id in unanswered if name in (None, names[call_id])), None)


def _fit_one(message: dict[str, Any], reasoning_names: Sequence[str], *, null_content: bool) -> dict[str, Any]:
    fitted = dict(message)
    reasoning = fitted.pop("reasoning_content", None)
    if message["content"] is None and not null_content:
        fitted["content"] = ""
    if reasoning:
        fitted |= dict.fromkeys(reasoning_names, reasoning)
        if message.get("tool_calls") and message["content"]:
            fitted.pop("thinking", None)  # the template of gpt-oss takes one of both beside calls
    return fitted


def _shorten_ids(message: dict[str, Any]) -> dict[str, Any]:
    shortened = dict(message)
    if "tool_calls" in message:
        shortened["tool_calls"] = [{**call, "id": make_short_id(call["id"])} for call in message["tool_calls"]]
    if "tool_call_id" in message:
        shortened["tool_call_id"] = make_short_id(message["tool_call_id"])
    return shortened
