"""A line of a log with whose it is before it, a colour for each pod."""

import re
from collections.abc import Sequence

from rich.text import Text

COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "bright_cyan", "bright_magenta", "bright_green")
_CONTROL = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def build_log_line(pod: str, container: str, text: str, *, pods: Sequence[str], has_prefix: bool) -> Text:
    """Returns the line; what a program wrote for a terminal is taken out of it."""
    line = _CONTROL.sub("", text)
    if not has_prefix:
        return Text(line, no_wrap=True, overflow="ignore")
    colour = COLOURS[pods.index(pod) % len(COLOURS)] if pod in pods else ""
    return Text.assemble((f"{pod} {container}", colour), " | ", line, no_wrap=True, overflow="ignore")
