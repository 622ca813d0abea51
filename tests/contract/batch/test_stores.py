"""A folder and a bucket keep the same promises: what a batch relies on, asked of both."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from secrets import token_hex

import pytest

from pagoda_gateway.batch.folder import FolderStore
from pagoda_gateway.batch.store import Missing, Store, StoreError

PART = 5 * 1024 * 1024


@pytest.fixture(params=["folder", "s3"])
async def store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Store]:
    if request.param == "folder":
        folder = FolderStore(tmp_path / "batch")
        folder.prepare()
        yield folder
        folder.close()
        return
    endpoint = request.getfixturevalue("s3_endpoint")
    from pagoda_gateway.batch.s3 import Bucket, S3Store

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    bucket = S3Store(Bucket.parse(f"s3://models/{token_hex(4)}", endpoint=endpoint, region="us-east-1"))
    bucket.append_pause_seconds = 0.0
    yield bucket


async def read_all(store: Store, name: str) -> bytes:
    return b"".join([block async for block in store.read_log(name)])


async def test_of_many_who_create_an_object_one_does(store: Store) -> None:
    made = await asyncio.gather(*(store.create("a/owner", b"%d" % number) for number in range(10)))
    assert made.count(True) == 1
    assert await store.get("a/owner") == b"%d" % made.index(True)


async def test_put_replaces_and_delete_is_no_error_twice(store: Store) -> None:
    assert await store.get("a/b") is None
    await store.put("a/b", b"one")
    await store.put("a/b", b"two")
    assert await store.get("a/b") == b"two"
    await store.delete("a/b")
    await store.delete("a/b")
    assert await store.get("a/b") is None


async def test_a_range_ends_with_the_object(store: Store) -> None:
    await store.put("a/b", b"0123456789")
    assert await store.read("a/b", 2, 3) == b"234"
    assert await store.read("a/b", 8, 100) == b"89"
    assert await store.read("a/b", 10, 100) == b""
    with pytest.raises(Missing):
        await store.read("a/c", 0, 1)


async def test_a_large_object_is_there_once_all_of_it_is_written(store: Store) -> None:
    async with store.write("a/large") as writer:
        for letter in b"abcd":
            await writer.write(bytes([letter]) * PART)
        assert await store.get("a/large") is None
    entries = await store.find("a")
    assert [(entry.name, entry.size_bytes) for entry in entries] == [("a/large", 4 * PART)]
    assert await store.read("a/large", PART - 1, 2) == b"ab"


@pytest.mark.parametrize("size", [10, 4 * PART])
async def test_a_large_object_that_fails_half_way_is_never_there(store: Store, size: int) -> None:
    with pytest.raises(ZeroDivisionError):
        async with store.write("a/large") as writer:
            await writer.write(b"x" * size)
            raise ZeroDivisionError
    assert await store.find("a") == []


async def test_a_log_gives_back_what_was_appended(store: Store) -> None:
    assert await read_all(store, "a/log") == b""
    log = await store.open_log("a/log")
    for number in range(12):
        await log.append(b"line %d\n" % number)
    await log.close()
    assert await read_all(store, "a/log") == b"".join(b"line %d\n" % number for number in range(12))


async def test_a_list_has_whole_parts_of_names_in_their_order(store: Store) -> None:
    for name in ("a/2/x", "a/1", "ab/3", "b"):
        await store.put(name, b"1")
    assert [entry.name for entry in await store.find("a")] == ["a/1", "a/2/x"]
    assert await store.find("nothing") == []


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a//b", "a/../b", ".hidden", "", "a/", "a\nb"])
async def test_a_name_that_leaves_the_store_is_refused(store: Store, name: str) -> None:
    with pytest.raises(ValueError, match="no name"):
        await store.put(name, b"")


async def test_a_bucket_that_does_not_answer_is_a_store_error(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("obstore")
    from pagoda_gateway.batch import s3

    monkeypatch.setattr(s3, "RETRY_SECONDS", 0.0)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    bucket = s3.S3Store(s3.Bucket.parse("s3://models/x", endpoint="http://127.0.0.1:1", region="us-east-1"))
    with pytest.raises(StoreError) as raised:
        await bucket.get("a")
    assert "\n" not in str(raised.value)
