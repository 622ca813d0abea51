"""How programs end: told to, or unable to run as they are told.

A program that is process 1 of its container ends when it is told to, from its first moment on.

The kernel delivers no signal to process 1 that it has no handler for: a SIGTERM that comes while the program starts
would be lost, and its pod would stay until the end of its grace period.
"""

import os
import signal
from types import FrameType

REFUSED = 2
"""The exit code of a program that cannot run with what it is told: another start would end as this one did."""


def end_on_sigterm() -> None:
    """Has SIGTERM end this process at once, with the code that a shell gives for it, until another handler is set."""
    signal.signal(signal.SIGTERM, _end)


def _end(number: int, _: FrameType | None) -> None:
    os._exit(128 + number)
