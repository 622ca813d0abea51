"""A file that a stranger may have put there is plain bytes of bounded size, or one error that says why."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pagoda_guard.files import BadFile, is_plain_file, read_plain_file

ODD: dict[str, Callable[[Path], object]] = {
    "pipe": os.mkfifo,
    "folder": os.mkdir,
    "device": lambda path: path.symlink_to("/dev/zero"),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file"


def test_a_plain_file_is_read_whole_up_to_its_bound(path: Path) -> None:
    path.write_bytes(b"1234")
    assert is_plain_file(path) and read_plain_file(path, limit_bytes=4) == b"1234"
    with pytest.raises(BadFile, match="^has more than 3 bytes$"):
        read_plain_file(path, limit_bytes=3)


def test_a_link_to_a_plain_file_is_one(path: Path) -> None:
    (path.parent / "blob").write_bytes(b"1")
    path.symlink_to(path.parent / "blob")
    assert is_plain_file(path) and read_plain_file(path, limit_bytes=1) == b"1"


@pytest.mark.parametrize("kind", ODD)
def test_what_is_no_plain_file_is_refused_and_never_waited_for(kind: str, path: Path) -> None:
    ODD[kind](path)
    for judge in (is_plain_file, lambda path: read_plain_file(path, limit_bytes=1)):
        with pytest.raises(BadFile, match="^is no plain file$"):
            judge(path)


def test_what_is_missing_is_told_from_what_cannot_be_told(path: Path) -> None:
    assert not is_plain_file(path)
    with pytest.raises(BadFile, match="^cannot be read: No such file or directory$"):
        read_plain_file(path, limit_bytes=1)
    with pytest.raises(BadFile, match="^cannot be read: File name too long$"):
        is_plain_file(path.parent / ("x" * 5000))
    with pytest.raises(BadFile, match="^cannot be read: embedded null byte$"):
        is_plain_file(path.parent / "\0")
