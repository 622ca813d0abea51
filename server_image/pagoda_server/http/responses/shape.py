"""An answer as a response: whole, or as the events of its items."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from pagoda_server.dialog.events import join_events
from pagoda_server.http.blocks import Begun, Block, Blocks, Change, Ended, Grown, read_events
from pagoda_server.http.chat_answers import make_call_id
from pagoda_server.http.choice import Piece
from pagoda_server.http.errors import RequestError
from pagoda_server.http.generate import GenerationPlan
from pagoda_server.http.responses.objects import (
    PREFIXES,
    Envelope,
    build_item,
    build_part,
    build_usage,
    describe_end,
    describe_failure,
    make_id,
)
from pagoda_server.http.stream import build_typed_event
from pagoda_server.wire import FinishReason

Score = Callable[[Piece], list[dict[str, Any]]]
"""Makes a piece's log-probabilities, where they are asked for."""


@dataclass(slots=True)
class _Item:
    block: Block
    id: str
    call_id: str = field(default_factory=make_call_id)
    logprobs: list[dict[str, Any]] = field(default_factory=list)

    def build(self, status: str) -> dict[str, Any]:
        return build_item(self.block, self.id, self.call_id, self.logprobs, status=status)


class ResponseShape:
    def __init__(self, envelope: Envelope, plan: GenerationPlan, score: Score, *, shows_reasoning: bool = True) -> None:
        self._envelope = envelope
        self._plan = plan
        self._score = score
        self._blocks = Blocks(shows_reasoning=shows_reasoning)
        self._items: list[_Item] = []
        self._number = 0
        self._has_begun = False
        self._reason: FinishReason | None = None
        self._scores: list[dict[str, Any]] = []
        """Log-probabilities of tokens whose text is held back: blanks may turn out to be a border's."""

    def take(self, piece: Piece) -> None:
        self._reason = piece.finish_reason
        for change, logprobs in self._read(piece):
            if isinstance(change, Begun):
                self._add(change.block)
            elif logprobs:
                self._items[change.block.index].logprobs += logprobs

    def build_whole(self) -> dict[str, Any]:
        return self._wrap_end(self._reason)

    def write(self, piece: Piece) -> bytes:
        events = list(self._begin())
        for change, logprobs in self._read(piece):
            events += self._tell(change, logprobs)
        if piece.finish_reason is not None:
            events += [event for change in self._blocks.finish() for event in self._tell(change, [])]
            response = self._wrap_end(piece.finish_reason)
            events.append(self._event(f"response.{response['status']}", response=response))
        return b"".join(events)

    def build_failure(self, error: RequestError) -> bytes:
        output = [item.build("incomplete") for item in self._items]
        failed = self._envelope.wrap("failed", output, error=describe_failure(error), usage=build_usage(self._plan))
        return b"".join([*self._begin(), self._event("response.failed", response=failed)])

    def _begin(self) -> Iterator[bytes]:
        if not self._has_begun:
            self._has_begun = True
            for name in ("created", "in_progress"):
                yield self._event(f"response.{name}", response=self._envelope.wrap("in_progress", []))

    def _read(self, piece: Piece) -> Iterator[tuple[Change, list[dict[str, Any]]]]:
        """Yields what a piece changes; its log-probabilities go with its first text."""
        self._scores += self._score(piece)
        changes = list(self._blocks.push(join_events(read_events(piece))))
        for change in changes:
            is_text = isinstance(change, Grown) and change.block.kind == "text"
            yield change, self._scores if is_text else []
            self._scores = [] if is_text else self._scores
        if self._blocks.is_past_text or any(isinstance(change, Grown) for change in changes):
            self._scores = []

    def _add(self, block: Block) -> _Item:
        item = _Item(block, make_id(PREFIXES[block.kind]))
        self._items.append(item)
        return item

    def _tell(self, change: Change, logprobs: list[dict[str, Any]]) -> Iterator[bytes]:
        match change:
            case Begun(block):
                yield from self._tell_begun(self._add(block))
            case Grown(block, text):
                item = self._items[block.index]
                item.logprobs += logprobs
                more = {"logprobs": logprobs} if block.kind == "text" else {}
                yield self._item_event(item, f"{_name_text(block)}.delta", delta=text, **more)
            case Ended(block):
                yield from self._tell_ended(self._items[block.index])

    def _tell_begun(self, item: _Item) -> Iterator[bytes]:
        yield self._output_event("added", item, "in_progress")
        if item.block.kind != "call":
            yield self._item_event(item, "response.content_part.added", part=build_part(item.block, [], text=""))

    def _tell_ended(self, item: _Item) -> Iterator[bytes]:
        block = item.block
        if block.kind == "call":
            yield self._item_event(item, "response.function_call_arguments.done", name=block.name, arguments=block.text)
        else:
            more = {"logprobs": item.logprobs} if block.kind == "text" else {}
            yield self._item_event(item, f"{_name_text(block)}.done", text=block.text, **more)
            yield self._item_event(item, "response.content_part.done", part=build_part(block, item.logprobs))
        yield self._output_event("done", item, "completed")

    def _output_event(self, verb: str, item: _Item, status: str) -> bytes:
        return self._event(f"response.output_item.{verb}", output_index=item.block.index, item=item.build(status))

    def _item_event(self, item: _Item, kind: str, **more: Any) -> bytes:
        place = {} if item.block.kind == "call" else {"content_index": 0}
        return self._event(kind, item_id=item.id, output_index=item.block.index, **place, **more)

    def _event(self, kind: str, **more: Any) -> bytes:
        event = build_typed_event({"type": kind, "sequence_number": self._number, **more})
        self._number += 1
        return event

    def _wrap_end(self, reason: FinishReason | None) -> dict[str, Any]:
        end = describe_end(reason)
        output = [item.build("completed") for item in self._items]
        if output and end["status"] == "incomplete":
            output[-1]["status"] = "incomplete"
        return self._envelope.wrap(end.pop("status"), output, **end, usage=build_usage(self._plan))


def _name_text(block: Block) -> str:
    names = {"text": "output_text", "reasoning": "reasoning_text", "call": "function_call_arguments"}
    return f"response.{names[block.kind]}"
