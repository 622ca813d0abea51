"""A rank that is lost is named in the log, whichever way its end is noticed first."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pagoda_server.engine.config import EngineConfig
from pagoda_server.parallel import leader
from pagoda_server.parallel.channel import Channel
from pagoda_server.parallel.leader import Followers

FOLLOWER = """
import socket, sys
channel = socket.socket(fileno=int(sys.argv[1]))
while channel.recv(4096):
    pass
sys.exit(int(sys.argv[2]))
"""


def start_rank(code: int) -> tuple[subprocess.Popen[bytes], Channel]:
    """Starts a process that ends once its channel is closed, with `code`."""
    own, given = socket.socketpair()
    with given:
        command = [sys.executable, "-c", FOLLOWER, str(given.fileno()), str(code)]
        process = subprocess.Popen(command, pass_fds=[given.fileno()])
    return process, Channel(own)


@pytest.mark.parametrize(("code", "is_lost"), [(0, False), (1, True)])
def test_a_rank_whose_end_shows_only_while_the_ranks_are_closed_is_named(
    code: int, is_lost: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setattr(leader, "start_follower", lambda: start_rank(code))
    Followers(EngineConfig(model=tmp_path, socket=tmp_path / "engine.sock", tensor_parallel=2)).close()
    assert ("a rank ended, and the engine with it rank=1" in caplog.text) is is_lost
    assert (f"code={code}" in caplog.text) is is_lost
