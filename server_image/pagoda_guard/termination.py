"""A program that is process 1 of its container ends when it is told to, from its first moment on.

The kernel delivers no signal to process 1 that it has no handler for: a SIGTERM that comes while the program starts
would be lost, and its pod would stay until the end of its grace period.
"""

import os
import signal
from types import FrameType


def end_on_sigterm() -> None:
    """Has SIGTERM end this process at once, with the code that a shell gives for it, until another handler is set."""
    signal.signal(signal.SIGTERM, _end)


def _end(number: int, _: FrameType | None) -> None:
    os._exit(128 + number)
