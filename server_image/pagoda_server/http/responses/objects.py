"""A response and its items, as clients see them."""

import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from pagoda_server.http.blocks import Block
from pagoda_server.http.errors import RequestError
from pagoda_server.http.generate import GenerationPlan
from pagoda_server.http.hints import SERVED_TIER
from pagoda_server.http.responses.schemas import ResponseRequest
from pagoda_server.wire import FinishReason

PREFIXES = {"reasoning": "rs", "text": "msg", "call": "fc"}


def make_id(prefix: str) -> str:
    return f"{prefix}_{uuid.uuid4().hex}"


@dataclass(frozen=True, slots=True)
class Envelope:
    """What a response says of its request, each time it is told."""

    body: ResponseRequest
    id: str = field(default_factory=lambda: make_id("resp"))
    created_at: int = field(default_factory=lambda: int(time.time()))

    def wrap(self, status: str, output: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        body = self.body
        return {
            "id": self.id,
            "object": "response",
            "created_at": self.created_at,
            "status": status,
            "background": False,
            "error": None,
            "incomplete_details": None,
            "instructions": body.instructions,
            "max_output_tokens": body.max_output_tokens,
            "max_tool_calls": None,
            "model": body.model,
            "output": output,
            "parallel_tool_calls": body.parallel_tool_calls is not False,
            "previous_response_id": None,
            "prompt_cache_key": body.prompt_cache_key,
            "reasoning": {"effort": body.thinking.effort, "summary": body.reasoning and body.reasoning.summary},
            "safety_identifier": body.safety_identifier,
            "service_tier": SERVED_TIER,
            "store": body.store is not False,
            "temperature": 1.0 if body.temperature is None else body.temperature,
            "text": self._describe_text(),
            "tool_choice": self._describe_choice(),
            "tools": [tool.model_dump() for tool in body.tools or ()],
            "top_logprobs": body.top_logprobs or 0,
            "top_p": 1.0 if body.top_p is None else body.top_p,
            "truncation": body.truncation or "disabled",
            "usage": None,
            "user": body.user,
            "metadata": body.metadata or {},
            **more,
        }

    def _describe_text(self) -> dict[str, Any]:
        text = self.body.text
        wanted = None if text is None else text.format
        form = {"type": "text"} if wanted is None else wanted.model_dump(by_alias=True, exclude_none=True)
        return {"format": form, "verbosity": (text and text.verbosity) or "medium"}

    def _describe_choice(self) -> Any:
        choice = self.body.tool_choice
        return choice.model_dump() if choice is not None and not isinstance(choice, str) else choice or "auto"


def build_item(block: Block, item_id: str, call_id: str, logprobs: list[Any], *, status: str) -> dict[str, Any]:
    head = {"id": item_id, "status": status}
    if block.kind == "call":
        call = {"call_id": call_id, "name": block.name, "arguments": block.text}
        return {"type": "function_call", **head, **call}
    content = [build_part(block, logprobs)] if status != "in_progress" else []
    if block.kind == "reasoning":
        return {"type": "reasoning", **head, "summary": [], "content": content, "encrypted_content": None}
    return {"type": "message", **head, "role": "assistant", "content": content}


def build_part(block: Block, logprobs: list[Any], *, text: str | None = None) -> dict[str, Any]:
    said = block.text if text is None else text
    if block.kind == "reasoning":
        return {"type": "reasoning_text", "text": said}
    return {"type": "output_text", "text": said, "annotations": [], "logprobs": logprobs}


def build_usage(plan: GenerationPlan) -> dict[str, Any]:
    completion = sum(choice.token_count for choice in plan.choices)
    return {
        "input_tokens": plan.prompt_tokens,
        "input_tokens_details": {"cached_tokens": plan.count_cached_tokens()},
        "output_tokens": completion,
        "output_tokens_details": {"reasoning_tokens": sum(choice.reasoning_tokens for choice in plan.choices)},
        "total_tokens": plan.prompt_tokens + completion,
    }


def describe_end(reason: FinishReason | None) -> dict[str, Any]:
    """Returns the status of a response, and why it is not complete."""
    if reason == "length":
        return {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    return {"status": "completed"}


def describe_failure(error: RequestError) -> dict[str, Any]:
    """Returns the error of a response that failed."""
    code = "server_error" if error.status >= 500 else error.code or "invalid_prompt"
    return {"code": code, "message": error.message}
