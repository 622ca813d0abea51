"""A command that is bound to its parent ends with it, and is otherwise the command itself."""

import os
import signal
import subprocess
import sys

from pagoda_guard.parent import bind_command

SLEEPS = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
PARENT = f"""
import os, subprocess, sys
from pagoda_guard.parent import bind_command
subprocess.Popen(bind_command([sys.executable, "-c", {SLEEPS!r}]), pass_fds=[int(sys.argv[1])]).wait()
"""


def test_a_command_ends_when_its_parent_is_killed() -> None:
    read_fd, write_fd = os.pipe()
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(write_fd)], stdout=subprocess.PIPE, pass_fds=[write_fd]
    )
    os.close(write_fd)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    assert os.read(read_fd, 1) == b"", "the child's end of the pipe is open"
    os.close(read_fd)
    parent.stdout.close()
    assert child != parent.pid


def test_a_command_whose_parent_is_gone_already_does_not_run() -> None:
    command = bind_command([sys.executable, "-c", "print('ran')"])
    command[4] = "1"
    ended = subprocess.run(command, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (-signal.SIGKILL, "")


def test_a_command_keeps_its_words_environment_and_exit_code() -> None:
    code = "import os, sys; print(sys.argv[1:], os.environ['X']); sys.exit(7)"
    ended = subprocess.run(
        bind_command([sys.executable, "-c", code, "-c", "a b", ""]), capture_output=True, text=True, env={"X": "y"}
    )
    assert (ended.returncode, ended.stdout) == (7, "['-c', 'a b', ''] y\n")


def test_a_command_that_is_not_there_is_said_in_one_line() -> None:
    ended = subprocess.run(bind_command(["/absent/program"]), capture_output=True, text=True)
    assert ended.returncode == 1
    assert ended.stderr == "/absent/program: cannot be started: No such file or directory\n"
