"""A supervised process: what it says, that it comes back, and that nothing of it is left."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from pagoda_cli.local import process as process_module
from pagoda_cli.local.log_file import LogFile
from pagoda_cli.local.plan import ProcessSpec
from pagoda_cli.local.process import LOG_LINE_BYTES, Hooks, Supervised

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


def run_code(code: str, log: Path, hooks: Hooks) -> Supervised:
    return Supervised(ProcessSpec("server", (sys.executable, "-c", code), {}), log, hooks)


FLOOD = "import os\nfor _ in range(4096): os.write(1, b'x' * 4096)\nos.write(1, b'the end')"
IGNORES_SIGTERM = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(1, flush=True)
time.sleep(600)
"""


async def test_a_full_disk_is_said_once_and_the_pipe_is_read_on() -> None:
    said: list[str] = []
    process = run_code(FLOOD, Path("/dev/full"), Hooks(lambda *_: None, said.append))
    async with asyncio.timeout(60):
        assert await process.run_once() == 0
    assert process.last_line.endswith("the end")
    assert said == ["/dev/full: cannot be written: No space left on device: lines are lost until it can be"]


async def test_a_flood_without_an_end_of_line_is_kept_in_bounded_memory(tmp_path: Path) -> None:
    process = run_code(FLOOD, tmp_path / "log", Hooks(lambda *_: None))
    async with asyncio.timeout(60):
        assert await process.run_once() == 0
    assert process.last_line.endswith("the end") and len(process.last_line) <= LOG_LINE_BYTES
    assert (tmp_path / "log").stat().st_size == 4096 * 4096 + 7


def test_a_log_is_bounded_and_its_end_is_kept(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "log", lambda trouble: None, largest_bytes=10)
    for number in range(100):
        log.write(b"%04d\n" % number)
    log.close()
    assert (tmp_path / "log.1").read_bytes() + (tmp_path / "log").read_bytes() == b"0096\n0097\n0098\n0099\n"
    assert len(list(tmp_path.iterdir())) == 2


async def test_too_many_open_files_are_said_and_survived(tmp_path: Path) -> None:
    ends: asyncio.Queue[str] = asyncio.Queue()
    started = asyncio.Event()
    short = True

    def prepare() -> None:
        if short:
            raise OSError(24, "Too many open files")
        started.set()

    hooks = Hooks(lambda process, code, _: ends.put_nowait(process.describe_end(code)), prepare=prepare)
    process = run_code("import time; time.sleep(600)", tmp_path / "log", hooks)
    process.start()
    async with asyncio.timeout(60):
        assert "cannot be started: [Errno 24] Too many open files" in await ends.get()
        short = False
        await started.wait()
    await process.stop(5)


async def test_a_program_that_is_not_there_is_said_and_tried_again(tmp_path: Path) -> None:
    ends: asyncio.Queue[str] = asyncio.Queue()
    hooks = Hooks(lambda process, code, _: ends.put_nowait(process.describe_end(code)))
    process = Supervised(ProcessSpec("server", ("/absent/program",), {}), tmp_path / "log", hooks)
    process.start()
    async with asyncio.timeout(60):
        for _ in range(2):
            assert await ends.get() == "exit code 1: /absent/program: cannot be started: No such file or directory"
    await process.stop(5)


async def wait_hopeless(process: Supervised) -> str:
    async with asyncio.timeout(60):
        return await process.wait_hopeless()


async def test_what_is_refused_is_not_tried_again(tmp_path: Path) -> None:
    ends: list[int] = []
    code = "import sys; print('settings refused: lower it'); sys.exit(2)"
    process = run_code(code, tmp_path / "log", Hooks(lambda _, code, backoff: ends.append(code)))
    process.start()
    assert await wait_hopeless(process) == "settings refused: lower it"
    assert ends == []
    await process.stop(5)


async def test_what_was_never_ready_is_given_up_after_three_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_module, "FIRST_BACKOFF_SECONDS", 0.0)
    ends: list[int] = []
    code = "import sys; print('RuntimeError: broken'); sys.exit(1)"
    process = run_code(code, tmp_path / "log", Hooks(lambda _, code, backoff: ends.append(code)))
    process.start()
    said = await wait_hopeless(process)
    assert said == "never ready in 3 starts: exit code 1: RuntimeError: broken"
    assert ends == [1, 1]
    await process.stop(5)


async def test_what_was_ready_once_is_started_again_whatever_it_ends_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_module, "FIRST_BACKOFF_SECONDS", 0.0)
    ends: asyncio.Queue[int] = asyncio.Queue()
    hooks = Hooks(lambda _, code, backoff: ends.put_nowait(code))
    process = run_code("import sys; sys.exit(2)", tmp_path / "log", hooks)
    process.mark_ready()
    process.start()
    async with asyncio.timeout(60):
        assert [await ends.get() for _ in range(4)] == [2] * 4
    await process.stop(5)


async def test_lines_are_told_with_the_name_of_who_wrote_them(tmp_path: Path) -> None:
    told: list[tuple[str, str]] = []
    hooks = Hooks(lambda *_: None, on_line=lambda name, line: told.append((name, line)))
    await run_code("print('a'); print('b')", tmp_path / "log", hooks).run_once()
    assert told == [("server", "a"), ("server", "b")]


async def test_a_child_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    lines: asyncio.Queue[str] = asyncio.Queue()
    process = run_code(IGNORES_SIGTERM, tmp_path / "log", Hooks(lambda *_: None))
    running = asyncio.ensure_future(process.run_once(lines.put_nowait))
    async with asyncio.timeout(60):
        await lines.get()
        await process.stop(0.1)
        assert await running == -9


async def test_control_characters_of_a_child_reach_no_message(tmp_path: Path) -> None:
    process = run_code("print('\\x1b[31mred\\x1b]0;title\\x07 \\u202e!')", tmp_path / "log", Hooks(lambda *_: None))
    await process.run_once()
    assert process.last_line == "[31mred ]0;title !"
