"""The messages of a conversation, fitted to the template that will write them.

Templates differ in what they want of one and the same history. Clients are told none of it: each difference that is
known is evened out here, and what is left a template refuses in its own words.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pagoda_server.text.template import Template

SHORT_ID_CHARACTERS = 9
WANTS_SHORT_IDS = "length != 9"
"""In the templates of Mistral's models, which refuse any other id of a call."""
WANTS_NAMED_IDS = "tool_calls_section_begin"
"""In the templates of Kimi's models, which show the model an id that says the function and how many came before."""
SHOWS_ONE_CALL = "tool_calls[0]"
"""In the templates of gpt-oss and of Llama 3, which show one call of a message, or refuse more."""
REASONING_NAMES = ("reasoning_content", "reasoning", "thinking")
"""What templates call the reasoning of an earlier answer."""


def fit_messages(messages: Sequence[dict[str, Any]], template: Template) -> list[dict[str, Any]]:
    """Returns the messages as this template wants them.

    Each may have role, content (None: nothing was said), name, tool_calls, tool_call_id and reasoning_content.
    """
    names = [name for name in REASONING_NAMES if template.mentions(name)]
    named = list(_name_calls(messages))
    if SHOWS_ONE_CALL in template.source:
        named = list(_split_calls(named))
    fitted = [_fit_one(message, names, null_content=template.takes_null_content) for message in named]
    if WANTS_SHORT_IDS in template.source:
        return _change_ids(fitted, lambda call_id, _: make_short_id(call_id))
    return _change_ids(fitted, name_id) if WANTS_NAMED_IDS in template.source else fitted


def make_short_id(text: str) -> str:
    """Returns nine letters and digits, the same for the same id."""
    is_short = len(text) == SHORT_ID_CHARACTERS and text.isalnum() and text.isascii()
    return text if is_short else hashlib.sha256(text.encode()).hexdigest()[:SHORT_ID_CHARACTERS]


def name_id(call_id: str, at: tuple[str, int]) -> str:
    """Returns the id of the call of a function, so many calls after the first."""
    return f"functions.{at[0]}:{at[1]}"


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


def _split_calls(messages: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yields the messages, of several calls at once each in a message of its own and its result behind it."""
    told: set[int] = set()
    for at, message in enumerate(messages):
        calls = message.get("tool_calls", ())
        if at in told:
            continue
        if len(calls) < 2:
            yield message
            continue
        for number, call in enumerate(calls):
            first = message if number == 0 else {"role": message["role"], "content": None}
            yield {**first, "tool_calls": [call]}
            for index in _find_results(messages, at, call["id"]):
                told.add(index)
                yield messages[index]


def _find_results(messages: Sequence[dict[str, Any]], at: int, call_id: str) -> Iterator[int]:
    """Yields where the results of a call stand among those right behind its message."""
    for index in range(at + 1, len(messages)):
        if messages[index]["role"] != "tool":
            return
        if messages[index].get("tool_call_id") == call_id:
            yield index


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


def _change_ids(
    messages: Sequence[dict[str, Any]], change: Callable[[str, tuple[str, int]], str]
) -> list[dict[str, Any]]:
    """Returns the messages with the ids changed. `change` is told the id, the function's name and the call's number.

    NB: what answers no call keeps its id where it is all that is known.
    """
    changed: dict[str, str] = {}
    calls = [call for message in messages for call in message.get("tool_calls", ())]
    for at, call in enumerate(calls):
        changed[call["id"]] = change(call["id"], (call["function"]["name"], at))
    return [_change_message(message, changed, change) for message in messages]


def _change_message(
    message: dict[str, Any], changed: dict[str, str], change: Callable[[str, tuple[str, int]], str]
) -> dict[str, Any]:
    told = dict(message)
    if "tool_calls" in message:
        told["tool_calls"] = [{**call, "id": changed[call["id"]]} for call in message["tool_calls"]]
    if call_id := message.get("tool_call_id"):
        told["tool_call_id"] = changed.get(call_id) or change(call_id, (message.get("name") or "", 0))
    return told
