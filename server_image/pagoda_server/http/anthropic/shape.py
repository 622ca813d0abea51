"""An answer as a message of Anthropic's API: whole, or as the events of its blocks."""

import hashlib
import uuid
from collections.abc import Iterator
from typing import Any

from pagoda_guard.anthropic_errors import build_anthropic_error
from pagoda_server.http.blocks import Begun, Block, Blocks, Change, Ended, Grown, read_events
from pagoda_server.http.choice import Piece
from pagoda_server.http.errors import RequestError
from pagoda_server.http.generate import GenerationPlan
from pagoda_server.http.stream import build_typed_event
from pagoda_server.http.tool_schemas import read_arguments
from pagoda_server.wire import FinishReason

PING = build_typed_event({"type": "ping"})


class MessageShape:
    def __init__(self, model: str, plan: GenerationPlan) -> None:
        self._model = model
        self._plan = plan
        self._id = f"msg_{uuid.uuid4().hex}"
        self._blocks = Blocks()
        self._has_begun = False
        self._reason: FinishReason | None = None

    def take(self, piece: Piece) -> None:
        self._reason = piece.finish_reason
        for _ in self._blocks.push(read_events(piece)):
            continue

    def build_whole(self) -> dict[str, Any]:
        content = [build_block(block) for block in self._blocks.all]
        return self._wrap(content, self._describe_end(self._reason), self._build_usage())

    def write(self, piece: Piece) -> bytes:
        events = list(self._begin())
        for change in self._blocks.push(read_events(piece)):
            events += _tell(change)
        if piece.finish_reason is not None:
            for change in self._blocks.finish():
                events += _tell(change)
            end = self._describe_end(piece.finish_reason)
            events.append(build_typed_event({"type": "message_delta", "delta": end, "usage": self._build_usage()}))
            events.append(build_typed_event({"type": "message_stop"}))
        return b"".join(events)

    def build_failure(self, error: RequestError) -> bytes:
        return build_typed_event(build_anthropic_error(error.message, status=error.status))

    def _begin(self) -> Iterator[bytes]:
        if not self._has_begun:
            self._has_begun = True
            message = self._wrap([], {"stop_reason": None, "stop_sequence": None}, self._build_usage())
            yield build_typed_event({"type": "message_start", "message": message})
            yield PING

    def _wrap(self, content: list[dict[str, Any]], end: dict[str, Any], usage: dict[str, Any]) -> dict[str, Any]:
        head = {"id": self._id, "type": "message", "role": "assistant", "model": self._model}
        return {**head, "content": content, **end, "usage": usage}

    def _build_usage(self) -> dict[str, Any]:
        cached = self._plan.count_cached_tokens()
        return {
            "input_tokens": self._plan.prompt_tokens - cached,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": cached,
            "output_tokens": sum(choice.token_count for choice in self._plan.choices),
        }

    def _describe_end(self, reason: FinishReason | None) -> dict[str, Any]:
        stop = self._plan.choices[0].stop_string
        if reason == "length":
            return {"stop_reason": "max_tokens", "stop_sequence": None}
        if stop is not None:
            return {"stop_reason": "stop_sequence", "stop_sequence": stop}
        return {"stop_reason": "tool_use" if self._blocks.has_calls else "end_turn", "stop_sequence": None}


def build_block(block: Block, *, is_begun: bool = False) -> dict[str, Any]:
    """Returns the block; of one that has only begun nothing is said yet."""
    text = "" if is_begun else block.text
    match block.kind:
        case "text":
            return {"type": "text", "text": text}
        case "reasoning":
            return {"type": "thinking", "thinking": text, "signature": "" if is_begun else sign(block.text)}
        case "call":
            call_input = {} if is_begun else dict(read_arguments(text))
            return {"type": "tool_use", "id": f"toolu_{uuid.uuid4().hex[:24]}", "name": block.name, "input": call_input}


def sign(text: str) -> str:
    """Returns what stands for a signature: clients send it back, and nobody looks at it."""
    return hashlib.sha256(text.encode()).hexdigest()


def _tell(change: Change) -> list[bytes]:
    index = change.block.index
    match change:
        case Begun(block):
            begun = build_block(block, is_begun=True)
            return [build_typed_event({"type": "content_block_start", "index": index, "content_block": begun})]
        case Grown(block, text):
            return [_build_delta(block, text)]
        case Ended(block):
            signed = {"type": "signature_delta", "signature": sign(block.text)}
            told = {"type": "content_block_delta", "index": index, "delta": signed}
            first = [build_typed_event(told)] if block.kind == "reasoning" else []
            return [*first, build_typed_event({"type": "content_block_stop", "index": index})]


def _build_delta(block: Block, text: str) -> bytes:
    deltas = {
        "text": {"type": "text_delta", "text": text},
        "reasoning": {"type": "thinking_delta", "thinking": text},
        "call": {"type": "input_json_delta", "partial_json": text},
    }
    return build_typed_event({"type": "content_block_delta", "index": block.index, "delta": deltas[block.kind]})
