"""The reason of a process's end, and that it ends with the one that started it."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pagoda_guard.memory_file import open_memory
from pagoda_server.__main__ import build_parser, main
from pagoda_server.process.child import MAX_REASON_BYTES, Child, describe_end, write_reason
from pagoda_server.process.command_lines import read_server

SERVER_IMAGE = Path(__file__).parents[4] / "server_image"


@pytest.mark.parametrize(
    ("code", "reason", "said"),
    [
        (-9, "", "engine ended by signal 9 (out of memory?)"),
        (-11, "", "engine ended by signal 11 (Segmentation fault)"),
        (-6, "", "engine ended by signal 6 (Aborted)"),
        (1, "RuntimeError: no", "engine ended with exit code 1: RuntimeError: no"),
        (3, "", "engine ended with exit code 3"),
    ],
)
def test_an_end_is_told_by_signal_or_code_and_what_the_process_said(code: int, reason: str, said: str) -> None:
    assert describe_end("engine", code, reason) == said


async def run(script: str) -> Child:
    return await Child.start("engine", [sys.executable, "-c", script])


WRITE = f"""
import sys
sys.path.insert(0, {str(SERVER_IMAGE)!r})
from pagoda_server.process.child import write_reason
write_reason(int(sys.argv[-1].removeprefix("--reason-fd=")), {{}})
sys.exit(4)
"""


@pytest.mark.parametrize("text", ["no\nmodel \ud800", "x" * 10 * MAX_REASON_BYTES])
async def test_what_a_child_says_of_its_end_is_one_line_of_bounded_length(text: str) -> None:
    reason = (await (await run(WRITE.format(ascii(text)))).wait()).reason
    assert reason.startswith("engine ended with exit code 4: " + ("no model ?" if "no" in text else "xxx"))
    assert "\n" not in reason and len(reason) <= MAX_REASON_BYTES + 40


async def test_a_child_that_was_killed_for_a_reason_ended_for_it() -> None:
    child = await run("import signal; signal.pause()")
    child.kill("said nothing for 60 s")
    assert (await child.wait()).reason == "engine said nothing for 60 s and was killed"


async def test_a_command_that_cannot_be_started_leaves_no_file_open() -> None:
    before = len(os.listdir("/proc/self/fd"))
    with contextlib.suppress(OSError):
        await Child.start("engine", ["/no/such/program"])
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_wrong_model_is_exit_code_2_one_line_and_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.json").write_text('{"architectures": 7}')
    with open_memory("reason") as file:
        code = main(
            ["engine", "--model", str(tmp_path), "--socket", str(tmp_path / "s"), f"--reason-fd={file.fileno()}"]
        )
        reason = os.pread(file.fileno(), 1000, 0).decode()
    assert code == 2
    assert reason.startswith("config.json: architectures is 7; supported are LlamaForCausalLM")
    assert capsys.readouterr().err == f"pagoda_server engine: {reason}\n"


PARENT = """
import subprocess, sys, os, signal
child = subprocess.Popen([sys.executable, "-c", sys.argv[1], str(os.getpid())])
print(child.pid, flush=True)
signal.pause()
"""
CHILD = f"""
import sys, signal
sys.path.insert(0, {str(SERVER_IMAGE)!r})
from pagoda_guard import parent
{{setup}}
parent.end_with_parent(int(sys.argv[1]))
print("guarded", flush=True)
signal.pause()
"""


@pytest.mark.parametrize("setup", ["", "parent._ask_kernel = lambda number: False"])
async def test_a_child_ends_with_its_killed_parent_by_the_kernel_or_by_looking(setup: str) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, CHILD.format(setup=setup)], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    with parent.stdout as said:
        child = int(said.readline())
        assert said.readline() == b"guarded\n"
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        async with asyncio.timeout(30):
            while Path(f"/proc/{child}/stat").exists() and not is_zombie(child):
                await asyncio.sleep(0.01)


def is_zombie(pid: int) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


def test_a_reason_that_cannot_be_written_ends_nothing() -> None:
    write_reason(-1, "no")


@pytest.mark.parametrize(
    "command",
    [
        ["serve", "--model=m", "--served-model-name=m"],
        ["engine", "--model=m", "--socket=s"],
        ["engine-rank", "--descriptor=0"],
        ["front", "--model=m", "--engine-socket=s", "--listening-fd=0", "--tally-fd=0", "--number=0"],
    ],
    ids=lambda command: command[0],
)
def test_each_program_ends_at_once_when_who_started_it_is_gone(command: list[str]) -> None:
    name = ["--served-model-name=m"] if command[0] == "front" else []
    ended = subprocess.run(
        [sys.executable, "-m", "pagoda_server", *command, *name, f"--parent-pid={os.getppid()}"],
        env={**os.environ, "PYTHONPATH": str(SERVER_IMAGE)},
    )
    assert ended.returncode == -signal.SIGKILL


def test_a_time_of_silence_too_short_to_tell_is_refused_by_name() -> None:
    args = build_parser().parse_args(["serve", "--model=m", "--served-model-name=m", "--stale-seconds=1"])
    with pytest.raises(ValueError, match="stale_seconds is 1.0: give at least 2"):
        read_server(args)
