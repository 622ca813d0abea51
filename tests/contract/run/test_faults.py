"""What breaks under a `pagoda run`: it is said, the rest runs on, and nothing outlives it."""

import asyncio
import os
import resource
import shutil
import signal
import sys
from pathlib import Path

from tests.contract.run.conftest import Run
from tests.contract.run.test_run import ask_alone

ROOT = Path(__file__).parents[3]


def find_processes(folder: Path) -> set[int]:
    """Those that were started for a test in `folder`."""
    entry = f"STAND_IN={folder}".encode()
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if entry in (process / "environ").read_bytes().split(b"\0"):
                found.add(int(process.name))
        except OSError:
            continue
    return found


async def test_nothing_outlives_a_run_that_is_killed(run: Run) -> None:
    run.write("tiny", replicas=2)
    command = (sys.executable, "-m", "tests.contract.run.run_stand_in", str(run.file), str(run.port))
    paths = ":".join([str(ROOT), os.environ["PYTHONPATH"]])
    killed = await asyncio.create_subprocess_exec(
        *command,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": paths, "TMPDIR": str(run.folder)},
        stderr=asyncio.subprocess.PIPE,
    )
    assert killed.stderr is not None
    async with asyncio.timeout(120):
        while b" Ready " not in (line := await killed.stderr.readline()):
            assert line, "it has ended"
        assert len(find_processes(run.folder)) == 5
        killed.send_signal(signal.SIGKILL)
        await killed.wait()
        while find_processes(run.folder):
            await asyncio.sleep(0.02)


async def test_a_file_that_becomes_a_folder_is_said_once_and_the_old_version_runs_on(run: Run) -> None:
    run.write("old")
    run.start()
    await run.until(lambda: run.times("Ready", run.url) == 1)
    run.file.unlink()
    run.file.mkdir()
    await run.until(lambda: run.times("Unchanged") == 1)
    assert run.times("Unchanged", f"the old version runs on: {run.file}: cannot be read: ") == 1
    assert (await ask_alone(run)).name == "old"
    run.file.rmdir()
    run.write("new")
    await run.until(lambda: run.times("Ready", run.url) == 2)
    assert run.times("Unchanged") == 1


async def test_a_hostile_secret_in_a_changed_file_writes_nothing(run: Run) -> None:
    run.write("old")
    run.start()
    await run.until(lambda: run.times("Ready", run.url) == 1)
    secret = "---\nkind: Secret\nmetadata: {name: keys}\nstringData: {'../../../written': x}\n"
    run.file.write_text(run.file.read_text() + secret)
    await run.until(lambda: run.times("Unchanged") == 1)
    assert run.times("Unchanged", "Secret 'keys': stringData: the key '../../../written': ") == 1
    assert not list(run.folder.rglob("written"))
    assert (await ask_alone(run)).name == "old"


async def test_a_folder_that_is_taken_away_is_made_again(run: Run) -> None:
    run.write("tiny")
    run.start()
    await run.until(lambda: run.times("Ready", run.url) == 1)
    server = (await ask_alone(run)).pid
    shutil.rmtree(run.folder / "1")
    os.kill(server, signal.SIGKILL)
    await run.until(lambda: run.times("PodsReady", "1 of 1") == 1)
    answer = await ask_alone(run)
    assert answer.status == 200 and answer.pid != server


async def test_too_many_open_files_are_said_and_survived(run: Run) -> None:
    run.write("tiny")
    run.start()
    await run.until(lambda: run.times("Ready", run.url) == 1)
    server = (await ask_alone(run)).pid
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        os.kill(server, signal.SIGKILL)
        await run.until(lambda: run.times("Restarting", "server in 2 s: exit code 127: cannot be started: ") == 1)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    await run.until(lambda: run.times("PodsReady", "1 of 1") == 1)
    assert (await ask_alone(run)).status == 200
