"""A run leaves nothing behind but the logs of a failure, and the next one tidies up after those that were killed."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from pagoda_cli.local.run_folder import KEPT_SECONDS, MARKER, keep_logs, make_run_folder, read_start, remove_abandoned

NOW = 1e9


@pytest.fixture
def parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def find_dead() -> tuple[int, str]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        start = read_start(process.pid)
    return process.pid, start


def make_old(parent: Path, name: str, owner: str, age_seconds: float) -> Path:
    folder = parent / name
    folder.mkdir()
    (folder / MARKER).write_text(owner)
    (folder / "server.log").write_text("x")
    os.utime(folder / MARKER, (NOW - age_seconds, NOW - age_seconds))
    return folder


def test_only_an_old_folder_of_a_run_that_has_ended_is_removed(parent: Path) -> None:
    pid, start = find_dead()
    old = make_old(parent, "pagoda-run-old", f"{pid} {start}", KEPT_SECONDS + 1)
    reused = make_old(parent, "pagoda-run-reused", f"{os.getpid()} 1", KEPT_SECONDS + 1)
    kept = [
        make_old(parent, "pagoda-run-young", f"{pid} {start}", KEPT_SECONDS - 60),
        make_old(parent, "pagoda-run-runs", f"{os.getpid()} {read_start(os.getpid())}", KEPT_SECONDS + 1),
        make_old(parent, "pagoda-run-odd", "who knows", KEPT_SECONDS + 1),
        make_old(parent, "pagoda-other", f"{pid} {start}", KEPT_SECONDS + 1),
    ]
    (parent / "pagoda-run-bare").mkdir()
    (parent / "pagoda-run-link").symlink_to(kept[0])
    (parent / "pagoda-run-file").write_text("x")
    remove_abandoned(parent, NOW)
    assert not old.exists() and not reused.exists()
    assert all((folder / "server.log").exists() for folder in kept)
    assert len(list(parent.iterdir())) == len(kept) + 3


def test_the_folder_of_a_run_says_whose_it_is(parent: Path) -> None:
    folder = make_run_folder(NOW)
    assert folder.parent == parent
    assert (folder / MARKER).read_text() == f"{os.getpid()} {read_start(os.getpid())}"


def test_the_logs_of_a_failure_stay_and_its_secrets_do_not(parent: Path) -> None:
    folder = make_run_folder(NOW)
    replica = folder / "1" / "0"
    for name in ("etc/api-keys/team", "run/server.sock", "server.log", "server.log.1", "gateway.log"):
        (replica / name).parent.mkdir(parents=True, exist_ok=True)
        (replica / name).write_text("" if name.startswith("gateway") else "x")
    assert keep_logs(folder)
    left = {str(path.relative_to(replica)) for path in replica.rglob("*")}
    assert left == {"server.log", "server.log.1"}


def test_a_failure_without_logs_keeps_nothing(parent: Path) -> None:
    folder = make_run_folder(NOW)
    (folder / "1").mkdir()
    assert not keep_logs(folder)
