"""What an answer says, in the shapes of chat completions: a message, or the deltas of one."""

import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pagoda_server.dialog.events import CallArguments, CallBegun, Content, Event, Reasoning, join_events
from pagoda_server.http.choice import Piece
from pagoda_server.wire import FinishReason

Logprobs = Callable[[Piece], dict[str, Any] | None]


def make_call_id() -> str:
    return f"call_{uuid.uuid4().hex[:24]}"


@dataclass(frozen=True, slots=True)
class ChatStyle:
    """What of an answer is told, and in which spelling."""

    has_old_calls: bool = False
    """The one call is `function_call`."""
    shows_reasoning: bool = True
    make_id: Callable[[], str] = make_call_id

    def name_reason(self, reason: FinishReason | None, *, has_calls: bool) -> str | None:
        if reason != "stop" or not has_calls:
            return reason
        return "function_call" if self.has_old_calls else "tool_calls"


PLAIN_STYLE = ChatStyle()


@dataclass(slots=True)
class Call:
    name: str
    arguments: str = ""


def collect_calls(events: Sequence[Event]) -> list[Call]:
    calls: list[Call] = []
    for event in events:
        if isinstance(event, CallBegun):
            calls.append(Call(event.name))
        elif isinstance(event, CallArguments):
            calls[-1].arguments += event.text
    return calls


def collect_text(events: Sequence[Event], kind: type[Content] | type[Reasoning]) -> str:
    return "".join(event.text for event in events if isinstance(event, kind))


def build_message(events: Sequence[Event], style: ChatStyle) -> dict[str, Any]:
    """Returns the message; its content is null where the model only reasoned or called."""
    joined = join_events(events)
    content, reasoning = collect_text(joined, Content), collect_text(joined, Reasoning)
    calls = collect_calls(joined)
    message: dict[str, Any] = {"role": "assistant", "content": content or None, "refusal": None}
    if not calls and not reasoning:
        message["content"] = content
    if reasoning and style.shows_reasoning:
        message |= {"reasoning_content": reasoning, "reasoning": reasoning}
    functions = [{"name": call.name, "arguments": call.arguments} for call in calls]
    if functions and style.has_old_calls:
        message["function_call"] = functions[0]
    elif functions:
        message["tool_calls"] = [{"id": style.make_id(), "type": "function", "function": one} for one in functions]
    return message


class ChatDeltas:
    """The deltas of one choice."""

    def __init__(self, index: int, style: ChatStyle, logprobs: Logprobs) -> None:
        self._index = index
        self._style = style
        self._logprobs = logprobs
        self._has_calls = False

    def build(self, piece: Piece) -> list[dict[str, Any]]:
        """Returns the chunks' choices for a piece: one for each kind of news, and one for the end."""
        deltas = [delta for event in join_events(piece.events or ()) for delta in self._say(event)]
        if piece.finish_reason is not None or (piece.tokens and not deltas):
            deltas.append({})
        choices: list[dict[str, Any]] = [
            {"index": self._index, "delta": delta, "logprobs": None, "finish_reason": None} for delta in deltas
        ]
        if choices and piece.tokens:
            choices[0]["logprobs"] = self._logprobs(piece)
        if piece.finish_reason is not None:
            choices[-1]["finish_reason"] = self._style.name_reason(piece.finish_reason, has_calls=self._has_calls)
        return choices

    def _say(self, event: Event) -> Iterator[dict[str, Any]]:
        match event:
            case Content():
                yield {"content": event.text}
            case Reasoning() if self._style.shows_reasoning:
                yield {"reasoning_content": event.text, "reasoning": event.text}
            case CallBegun():
                self._has_calls = True
                yield self._say_begun(event)
            case CallArguments():
                function = {"arguments": event.text}
                yield self._wrap_call(function, {"index": event.index, "function": function})

    def _say_begun(self, event: CallBegun) -> dict[str, Any]:
        function = {"name": event.name, "arguments": ""}
        call = {"index": event.index, "id": self._style.make_id(), "type": "function", "function": function}
        return self._wrap_call(function, call)

    def _wrap_call(self, function: dict[str, Any], call: dict[str, Any]) -> dict[str, Any]:
        return {"function_call": function} if self._style.has_old_calls else {"tool_calls": [call]}
