"""A process that ends with the one that started it, however that one ends."""

import ctypes
import os
import signal

PR_SET_PDEATHSIG = 1


def end_with_parent(parent_pid: int, signal_number: int = signal.SIGKILL) -> None:
    """Asks the kernel to signal this process when its parent ends; Linux only, elsewhere it does nothing.

    `parent_pid` is the parent as it was when it started this process: should it be gone already, this process ends now.
    NB: the kernel means the parent's *thread* that forked, so that must be one which lives as long as the parent.
    """
    try:
        prctl = ctypes.CDLL(None, use_errno=True).prctl
    except (OSError, AttributeError):
        return
    prctl(PR_SET_PDEATHSIG, int(signal_number), 0, 0, 0)
    if os.getppid() != parent_pid:
        os.kill(os.getpid(), signal_number)
