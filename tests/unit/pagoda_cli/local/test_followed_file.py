"""Whatever becomes of the file of a run, it is said once and looked at on."""

import asyncio
import os
from pathlib import Path

import pytest

from pagoda_cli.local.followed_file import FollowedFile


def follow(path: Path) -> tuple[FollowedFile, list[str]]:
    said: list[str] = []
    file = FollowedFile(path, said.append, watch_seconds=0.001)
    file.remember()
    return file, said


async def until_said(said: list[str], file: FollowedFile) -> "asyncio.Task[bytes]":
    waiting = asyncio.ensure_future(file.wait_change())
    async with asyncio.timeout(30):
        while not said:
            await asyncio.sleep(0)
    for _ in range(100):
        await asyncio.sleep(0)
    return waiting


def replace_by(kind: str, path: Path) -> None:
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "loop":
        path.symlink_to(path)


@pytest.mark.parametrize("kind", ["folder", "pipe", "loop", "gone"])
async def test_a_file_that_becomes_something_else_is_said_once_and_followed_when_it_is_back(
    tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "m.yaml"
    path.write_text("old")
    file, said = follow(path)
    replace_by(kind, path)
    waiting = await until_said(said, file)
    if kind != "gone":
        path.rmdir() if kind == "folder" else path.unlink()
    path.write_text("new")
    async with asyncio.timeout(30):
        assert await waiting == b"new"
    assert len([line for line in said if "No such file" not in line or kind == "gone"]) == 1
    assert f"{path}: cannot be read: " in said[0]


async def test_a_change_is_told_once(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text("old")
    file, said = follow(path)
    path.write_text("new")
    async with asyncio.timeout(30):
        assert await file.wait_change() == b"new"
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await file.wait_change()
    assert said == []
