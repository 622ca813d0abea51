"""A supervised process: what it says, that it comes back, and that nothing of it is left."""

import asyncio
import os
import sys
from pathlib import Path

from pagoda_operator.cli.run.plan import ProcessSpec
from pagoda_operator.cli.run.process import Supervised

LEAVES_A_CHILD = """
import os, subprocess, sys
subprocess.Popen(
    [sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True, pass_fds=[int(sys.argv[1])]
)
print("I leave a child", flush=True)
os.kill(os.getpid(), 9)
"""


async def test_killed_process_is_seen_at_once_and_its_children_end(tmp_path: Path) -> None:
    ends: asyncio.Queue[int] = asyncio.Queue()
    read_fd, write_fd = os.pipe()
    command = (sys.executable, "-c", LEAVES_A_CHILD, str(write_fd))
    process = Supervised(
        ProcessSpec("server", command, {}, inherits=(write_fd,)),
        tmp_path / "log",
        lambda _, code, backoff: ends.put_nowait(code),
    )
    process.start()
    async with asyncio.timeout(30):
        assert await ends.get() == -9
    assert process.last_line == "I leave a child"
    await process.stop(5)
    os.close(write_fd)
    async with asyncio.timeout(30):
        assert await asyncio.to_thread(os.read, read_fd, 1) == b""  # the child's end of the pipe is closed
    os.close(read_fd)


async def test_every_line_is_told_and_logged_also_an_unfinished_last_one(tmp_path: Path) -> None:
    lines: list[str] = []
    code = "import sys; print('one'); print('two', file=sys.stderr); print('three', end='')"
    process = Supervised(ProcessSpec("fetch", (sys.executable, "-c", code), {}), tmp_path / "log", lambda *_: None)
    assert await process.run_once(lines.append) == 0
    assert lines == ["one", "two", "three"]
    assert (tmp_path / "log").read_text() == "one\ntwo\nthree"
