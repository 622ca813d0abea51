"""How a process ended, in words, and what it said of the reason."""

import re
import signal
from collections.abc import Sequence

INFORMATION = re.compile(r"\b(INFO|DEBUG)\b")
TROUBLE = re.compile(r"\b(ERROR|CRITICAL|FATAL)\b|\b\w*(Error|Exception): ")


def describe_end(code: int) -> str:
    """Returns in words how a process ended. `code` is asyncio's: below 0 it is a signal."""
    if code >= 0:
        return f"exit code {code}"
    hint = " (out of memory?)" if -code == signal.SIGKILL else ""
    return f"ended by signal {-code}{hint}"


def find_reason(lines: Sequence[str]) -> str:
    """Returns the last line, or, if that only informs, the last that tells of an error, or nothing."""
    if lines and not INFORMATION.search(lines[-1]):
        return lines[-1]
    return next((line for line in reversed(lines) if TROUBLE.search(line)), "")
