"""A folder that others write to as well: what they put there is not followed, and nothing of it hangs a gateway."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pagoda_gateway.batch.folder import ABANDONED_SECONDS, UNFINISHED, FolderStore
from pagoda_gateway.batch.store import StoreError


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[FolderStore]:
    store = FolderStore(tmp_path / "batch")
    store.prepare()
    yield store
    store.close()


async def test_no_link_on_the_volume_is_followed(store: FolderStore, tmp_path: Path) -> None:
    secret = tmp_path / "keys" / "team-a"
    secret.parent.mkdir()
    secret.write_text("a secret key")
    files = tmp_path / "batch" / "files"
    files.mkdir()
    (files / "linked").symlink_to(secret)
    (files / "folder").symlink_to(secret.parent)
    for name in ("files/linked", "files/folder/team-a"):
        with pytest.raises(StoreError):
            await store.get(name)
        with pytest.raises(StoreError):
            await store.read(name, 0, 100)
    assert await store.find("files") == []
    with pytest.raises(StoreError):
        await store.put("files/folder/team-b", b"mine")
    await store.put("files/linked", b"mine")
    assert secret.read_text() == "a secret key" and list(secret.parent.iterdir()) == [secret]


async def test_what_is_no_file_hangs_nobody(store: FolderStore, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "batch" / "pipe")
    async with asyncio.timeout(5):
        with pytest.raises(StoreError):
            await store.get("pipe")


async def test_what_killed_gateways_left_is_removed_once_it_is_old(tmp_path: Path) -> None:
    unfinished = tmp_path / "batch" / UNFINISHED
    unfinished.mkdir(parents=True)
    for name, age_seconds in (("old", ABANDONED_SECONDS + 60), ("new", 0.0)):
        path = unfinished / name
        path.write_text("x")
        at = path.stat().st_mtime - age_seconds
        os.utime(path, (at, at))
    store = FolderStore(tmp_path / "batch")
    store.prepare()
    store.close()
    assert [path.name for path in unfinished.iterdir()] == ["new"]


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = FolderStore(tmp_path / "file" / "batch")
    with pytest.raises(StoreError, match="file/batch"):
        store.prepare()
    store.close()
