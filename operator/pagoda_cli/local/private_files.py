"""Files for a run's own eyes. Whatever a name spells, nothing is written outside the folder that is given."""

import contextlib
import os
import uuid
from pathlib import Path

FOLDER_MODE, FILE_MODE = 0o700, 0o600
OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
OPEN_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class OutsideError(OSError):
    """The name would lead out of the folder."""


def write_private(root: Path, name: str, content: bytes) -> None:
    """Writes `root/name` and the folders between, unless it is there already. Raises OSError.

    Each step is opened below the one before and follows no link, so a folder that is exchanged meanwhile leads nowhere.
    """
    *folders, last = name.split("/")
    for part in (*folders, last):
        if part in ("", ".", "..") or "\0" in part:
            raise OutsideError(f"{name!r} is no path below {root}: give relative names, without '..'")
    folder = os.open(root, OPEN_FOLDER)
    try:
        for part in folders:
            folder = _enter(folder, part)
        _write_new(folder, last, content)
    finally:
        os.close(folder)


def _enter(folder: int, name: str) -> int:
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, FOLDER_MODE, dir_fd=folder)
    inner = os.open(name, OPEN_FOLDER, dir_fd=folder)
    os.close(folder)
    return inner


def _write_new(folder: int, name: str, content: bytes) -> None:
    """Writes a file whole or not at all, whoever reads meanwhile and however full the disk is."""
    partial = f".{uuid.uuid4().hex}"
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
        return
    except FileNotFoundError:
        pass
    try:
        with open(os.open(partial, OPEN_FILE, FILE_MODE, dir_fd=folder), "wb") as file:
            file.write(content)
        os.rename(partial, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        _remove(folder, partial)
        raise


def _remove(folder: int, name: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)
