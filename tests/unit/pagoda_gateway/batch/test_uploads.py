"""What an upload may do to a gateway: nothing that is unbounded, whatever it sends."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from pagoda_gateway.batch.limits import UPLOADS
from pagoda_gateway.sidecar import Sidecar

Start = Callable[..., Awaitable[Sidecar]]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "batch"


def list_files(store: Path) -> list[Path]:
    return [path for path in store.rglob("*") if path.is_file()]


async def post(gateway: Sidecar, body: Any, **headers: str) -> tuple[int, dict[str, Any]]:
    async with aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{gateway.port}/v1/files"
        async with session.post(url, data=body, headers=headers) as response:
            return response.status, json.loads(await response.read())


def build_form(**fields: str) -> aiohttp.FormData:
    form = aiohttp.FormData()
    for name, value in fields.items():
        form.add_field(name, value)
    form.add_field("file", b"{}\n", filename="../../etc/a.jsonl")
    return form


async def test_a_file_name_is_only_a_name(start: Start, store: Path) -> None:
    gateway = await start(batch_store=str(store))
    form = aiohttp.FormData(quote_fields=False)
    form.add_field("file", b"{}\n", filename="../../etc/a.jsonl")
    form.add_field("purpose", "batch")  # NB: after the file
    status, answer = await post(gateway, form)
    assert (status, answer["filename"]) == (200, "a.jsonl")
    assert all(path.is_relative_to(store / "files" / "anonymous") for path in list_files(store))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"purpose": "assistants"}, "give 'batch'"),
        ({}, "purpose is missing"),
        ({"purpose": "batch", "expires_after[anchor]": "created_at"}, "both anchor and seconds"),
        ({"purpose": "batch", "expires_after[seconds]": "1"}, "from 3600 to 2592000"),
        ({"purpose": "batch", "note": "x" * 1000}, "longer than 512"),
    ],
)
async def test_a_form_that_is_refused_leaves_nothing(
    start: Start, store: Path, fields: dict[str, str], words: str
) -> None:
    gateway = await start(batch_store=str(store))
    status, answer = await post(gateway, build_form(**fields))
    assert status == 400 and words in answer["error"]["message"]
    assert list_files(store) == []


async def test_bytes_that_are_no_form_are_refused(start: Start, store: Path) -> None:
    gateway = await start(batch_store=str(store))
    status, answer = await post(gateway, b"\n" * 100_000, **{"Content-Type": "multipart/form-data; boundary=b"})
    assert status == 400 and "begin with its boundary" in answer["error"]["message"]
    status, answer = await post(gateway, b"{}", **{"Content-Type": "application/json"})
    assert status == 400 and "multipart/form-data" in answer["error"]["message"]


async def test_a_web_page_cannot_upload_unasked(start: Start, store: Path) -> None:
    gateway = await start(batch_store=str(store))
    status, _ = await post(gateway, build_form(purpose="batch"), Origin="https://elsewhere.example")
    assert status == 415


async def test_a_form_is_taken_nowhere_else_and_only_with_batches(start: Start) -> None:
    gateway = await start()
    status, _ = await post(gateway, build_form(purpose="batch"))
    assert status == 415


async def test_so_many_upload_at_a_time(start: Start, store: Path) -> None:
    gateway = await start(batch_store=str(store))
    head = (
        b"POST /v1/files HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        b"Content-Length: 100000\r\n\r\n"
    )
    writers = []
    for _ in range(UPLOADS):
        _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(head + b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n')
        await writer.drain()
        writers.append(writer)
    async with asyncio.timeout(5):
        while len(list((store / ".unfinished").iterdir())) < UPLOADS:
            await asyncio.sleep(0.01)
    status, answer = await post(gateway, build_form(purpose="batch"))
    assert (status, answer["error"]["code"]) == (429, "uploads_full")
    for writer in writers:
        writer.close()
    async with asyncio.timeout(5):
        while list_files(store):
            await asyncio.sleep(0.01)
    assert (await post(gateway, build_form(purpose="batch")))[0] == 200


async def test_one_that_is_too_slow_is_let_go(start: Start, store: Path) -> None:
    gateway = await start(batch_store=str(store), body_seconds=0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(
        b"POST /v1/files HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        b"Content-Length: 100000\r\n\r\n--b\r\n"
    )
    answer = await asyncio.wait_for(reader.read(), 5)
    assert b" 408 " in answer and b"too slowly" in answer
    writer.close()
    assert list_files(store) == []
