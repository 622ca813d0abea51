"""One turn of a conversation, whichever API it came through: what the model is shown, and what form its answer has.

Chat completions, responses and messages each turn their request into a `Turn`, and what the parsed answer says
(`events.py`) back into their own shapes. Nothing here knows HTTP, a tokenizer or the engine.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Message = Mapping[str, Any]
"""As chat templates expect it: role, content, perhaps name, tool_calls, tool_call_id, reasoning_content."""
ToolMode = Literal["none", "auto", "required"]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may call."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """The JSON schema of its arguments, an object's; empty: any object."""
    strict: bool = False
    """Its arguments must validate, by grammar."""


@dataclass(frozen=True, slots=True)
class ToolUse:
    """Which tools may be called, and how."""

    tools: Sequence[Tool] = ()
    mode: ToolMode = "auto"
    name: str | None = None
    """The one tool that must be called; `mode` is then `required`."""
    parallel: bool = True
    """More than one call may stand in one answer."""

    @property
    def is_offered(self) -> bool:
        """Returns whether the answer may hold a call."""
        return bool(self.tools) and self.mode != "none"


@dataclass(frozen=True, slots=True)
class JsonFormat:
    """The answer is JSON: of this schema, or any object where that is None."""

    schema: Mapping[str, Any] | bool | None = None


@dataclass(frozen=True, slots=True)
class RegexFormat:
    pattern: str


@dataclass(frozen=True, slots=True)
class ChoiceFormat:
    choices: Sequence[str]


@dataclass(frozen=True, slots=True)
class GrammarFormat:
    """A context-free grammar: Lark's notation, or EBNF as vLLM's users write it."""

    text: str


AnswerFormat = JsonFormat | RegexFormat | ChoiceFormat | GrammarFormat


@dataclass(frozen=True, slots=True)
class Thinking:
    """What the client wants of the model's reasoning. None: as the model does by itself."""

    effort: Effort | None = None
    budget_tokens: int | None = None
    """The maximum number of tokens before the answer itself must begin."""
    is_off: bool = False
    """The model is not told to reason: an answer that is held to a form begins without."""


@dataclass(frozen=True, slots=True)
class Turn:
    messages: Sequence[Message]
    tool_use: ToolUse = ToolUse()
    answer_format: AnswerFormat | None = None
    thinking: Thinking = Thinking()
    template_options: Mapping[str, Any] = field(default_factory=dict)
    """`chat_template_kwargs`: handed to the template as they are."""
    documents: Sequence[Mapping[str, str]] = ()
    """What the answer is to be drawn from, for templates that take it."""
    continues_last: bool = False
    """The answer goes on with the last message, an assistant's, in place of beginning one."""
    add_generation_prompt: bool = True
