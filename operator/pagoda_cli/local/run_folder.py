"""The temporary folder of a `pagoda run`: gone with it, but for the logs of one that failed, and those for a day only.

A run that was killed leaves its folder. The next run removes it once it is a day old: its own marker, owner and process
say whose it was.
"""

import contextlib
import os
import shutil
import stat
import tempfile
from pathlib import Path

PREFIX = "pagoda-run-"
MARKER = "owner"
KEPT_SECONDS = 24 * 3600.0
PROCESSES = Path("/proc")


def make_run_folder(now: float) -> Path:
    """Makes the folder, and removes what dead runs left. Raises OSError."""
    remove_abandoned(Path(tempfile.gettempdir()), now)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    (folder / MARKER).write_text(f"{os.getpid()} {read_start(os.getpid())}")
    return folder


def keep_logs(folder: Path) -> bool:
    """Removes all but the logs, so also every Secret; returns whether there are any."""
    for path in sorted(folder.rglob("*"), reverse=True):  # what lies in a folder before the folder itself
        if path.is_dir() and not path.is_symlink():
            with contextlib.suppress(OSError):
                path.rmdir()
        elif not _is_log(path) and path != folder / MARKER:
            path.unlink(missing_ok=True)
    return any(_is_log(path) for path in folder.rglob("*"))


def _is_log(path: Path) -> bool:
    return path.suffix in (".log", ".1") and path.is_file() and not path.is_symlink() and path.stat().st_size > 0


def remove_abandoned(parent: Path, now: float) -> None:
    for folder in parent.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # another's, or gone meanwhile
            if is_abandoned(folder, now):
                shutil.rmtree(folder, ignore_errors=True)


def is_abandoned(folder: Path, now: float) -> bool:
    """Returns whether the folder is this user's, a day old, and of a run that has ended. Raises OSError."""
    found, marker = folder.lstat(), folder / MARKER
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or marker.is_symlink():
        return False
    if now - marker.stat().st_mtime < KEPT_SECONDS:
        return False
    pid, _, start = marker.read_text().partition(" ")
    return pid.isdecimal() and not _is_running(int(pid), start)


def _is_running(pid: int, start: str) -> bool:
    return read_start(pid) == start if PROCESSES.is_dir() else True


def read_start(pid: int) -> str:
    """Returns when the process began, in the kernel's ticks: another one may have got its number. None: nothing."""
    try:
        return (PROCESSES / str(pid) / "stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""
