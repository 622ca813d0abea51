import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bench.processes import running

ROOT = Path(__file__).parents[3]
ENDS = (
    "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(7)); print('up', flush=True); signal.pause()"
)
STAYS = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); signal.pause()"


def run(code: str, stop_seconds: float) -> subprocess.Popen[bytes]:
    read, write = os.pipe()
    with (
        open(write, "wb") as output,
        running([sys.executable, "-c", code], stop_seconds=stop_seconds, output=output) as process,
    ):
        os.read(read, 2)
    os.close(read)
    return process


def test_a_child_may_end_in_order() -> None:
    assert run(ENDS, stop_seconds=30).returncode == 7


def test_a_child_that_ignores_sigterm_is_killed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(STAYS, stop_seconds=0.1).returncode == -9
    assert "killed" in capsys.readouterr().err


PARENT = """
import sys
from bench.processes import exit_on_sigterm, running
exit_on_sigterm()
with running([sys.executable, "-c", "import signal; signal.pause()"], stop_seconds=30) as child:
    print(child.pid, flush=True)
    child.wait()
"""


def test_a_parent_that_is_ended_takes_its_child_along() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, cwd=ROOT) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.terminate()
        assert parent.wait() == 128 + signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
