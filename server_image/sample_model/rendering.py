"""Conversations as the text that the model reads: by its own chat template, so that both are the same."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from sample_model.dialogue import Conversation

TEMPLATE = Path(__file__).parent / "pagoda-tiny" / "chat_template.jinja"
ASSISTANT = "<|assistant|>"
SPECIAL_TOKENS = ["<|end|>", "<|system|>", "<|user|>", ASSISTANT]
MARKS = ["<tools>", "</tools>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"]
MARKS += ["<think>", "</think>"]
"""Tokens of their own, as such models have them; not special ones, so they stay in an answer's text."""


@dataclass(frozen=True, slots=True)
class Document:
    text: str
    learns_last_only: bool
    """Only the assistant's last message is learned from, not those before."""


@cache
def load_template() -> jinja2.Template:
    """Returns the template in an environment like that of transformers."""
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    return environment.from_string(TEMPLATE.read_text())


def render(messages: list[dict[str, Any]], **options: Any) -> str:
    return load_template().render(messages=messages, **options)


def render_conversation(conversation: Conversation) -> Document:
    thinks = conversation.thought is not None
    text = render(conversation.list_messages(), tools=conversation.list_tools(), enable_thinking=thinks)
    if not thinks:
        return Document(text, learns_last_only=False)
    before, last = text.rsplit(ASSISTANT, 1)
    return Document(f"{before}{ASSISTANT}{write_thought(conversation.thought)}{last}", learns_last_only=True)


def write_thought(thought: str | None) -> str:
    return f"<think>\n{thought}\n</think>\n\n"
