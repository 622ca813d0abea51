"""What a turn asks of its answer that a grammar must hold."""

from collections.abc import Sequence

from pagoda_server.dialog.turn import Thinking, Tool, ToolUse, Turn

BUDGETS = {"none": 0, "minimal": 256, "low": 1_024}
"""Tokens of reasoning by effort, for models whose template knows no effort; more effort is the model's own."""


def is_constrained(turn: Turn) -> bool:
    return turn.answer_format is not None or are_calls_constrained(turn)


def are_calls_constrained(turn: Turn) -> bool:
    """Returns whether calls are written by grammar: also where all that is no call must have a form."""
    tool_use = turn.tool_use
    if not tool_use.is_offered:
        return False
    is_asked = tool_use.mode == "required" or any(tool.strict for tool in tool_use.tools)
    return is_asked or turn.answer_format is not None


def list_callable(tool_use: ToolUse) -> Sequence[Tool]:
    """Returns the tools that may be called: all, or the one that must be."""
    return [tool for tool in tool_use.tools if tool_use.name in (None, tool.name)]


def find_budget(thinking: Thinking, *, knows_effort: bool) -> int | None:
    """Returns the maximum number of tokens of reasoning, None where the model decides."""
    if thinking.budget_tokens is not None:
        return thinking.budget_tokens
    return None if knows_effort else BUDGETS.get(thinking.effort or "")


def find_prefix(turn: Turn) -> str:
    """Returns what the answer has said already when it goes on with the last message."""
    content = turn.messages[-1].get("content") if turn.continues_last and turn.messages else None
    return content if isinstance(content, str) else ""
