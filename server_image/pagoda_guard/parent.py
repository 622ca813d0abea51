"""A process that ends with the one that started it, however that one ends."""

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence

PR_SET_PDEATHSIG = 1
LOOK_SECONDS = 1.0


def end_with_parent(parent_pid: int, signal_number: int = signal.SIGKILL) -> None:
    """Asks the kernel to signal this process when its parent ends; where it cannot, a thread looks once per second.

    `parent_pid` is the parent as it was when it started this process: should it be gone already, this process ends now.
    NB: the kernel means the parent's *thread* that forked, so that must be one which lives as long as the parent.
    """
    if not _ask_kernel(signal_number):
        threading.Thread(target=_look, args=(parent_pid, signal_number), name="parent", daemon=True).start()
    if os.getppid() != parent_pid:
        os.kill(os.getpid(), signal_number)


def _ask_kernel(signal_number: int) -> bool:
    """Returns False where the kernel is not Linux, or forbids it."""
    try:
        prctl = ctypes.CDLL(None, use_errno=True).prctl
    except (OSError, AttributeError):
        return False
    return bool(prctl(PR_SET_PDEATHSIG, int(signal_number), 0, 0, 0) == 0)


def _look(parent_pid: int, signal_number: int) -> None:
    while os.getppid() == parent_pid:
        time.sleep(LOOK_SECONDS)
    os.kill(os.getpid(), signal_number)


def bind_command(command: Sequence[str]) -> list[str]:
    """Returns `command` as one that ends with this process: this file becomes it, once the kernel has been asked.

    NB: it must be started by the thread that lives as long as this process. It runs by its path, so that it is found
    and quick whatever the command's own environment is.
    """
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *command]


def main() -> None:
    parent_pid, *command = sys.argv[1:]
    end_with_parent(int(parent_pid))
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.exit(f"{command[0]}: cannot be started: {error.strerror}")


if __name__ == "__main__":
    main()
