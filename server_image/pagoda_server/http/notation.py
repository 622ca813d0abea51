"""How the served model writes reasoning and calls: what this folder needs of it, whichever notation it is."""

from collections.abc import Sequence
from typing import Protocol

from pagoda_server.dialog.events import AnswerParser
from pagoda_server.dialog.turn import Tool, ToolUse


class Notation(Protocol):
    @property
    def reasons(self) -> bool:
        """Returns whether answers may hold reasoning."""

    @property
    def calls(self) -> bool:
        """Returns whether answers may hold calls."""

    @property
    def markers(self) -> frozenset[str]:
        """Returns the special tokens that the parser must see; all others are no text."""

    def build_parser(self, tools: Sequence[Tool], prompt_end: str) -> AnswerParser:
        """Returns what reads one answer. `prompt_end`: the end of the prompt, where reasoning may have been opened."""

    def build_grammar(self, tool_use: ToolUse, prompt_end: str) -> str | None:
        """Returns the grammar that answers must follow, None where they are free."""
