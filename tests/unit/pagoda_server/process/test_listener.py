"""Accepting: out of file descriptors it waits and says so once; a connection that asks nothing is closed."""

import asyncio
import os
import resource
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from pagoda_server.http.tally import Tally
from pagoda_server.process import listener as listener_module
from pagoda_server.process.listener import Listener

ASK = b"GET / HTTP/1.1\r\nHost: server\r\n\r\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s"


@pytest.fixture
async def listener(path: Path) -> AsyncIterator[Listener]:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        made.note_request(request.protocol)
        return web.Response(text="well")

    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    bound.bind(str(path))
    server = web.Server(answer)
    made = Listener(bound, server, Tally.build_single())
    made.start()
    yield made
    made.close()
    await server.shutdown(1)


@pytest.fixture
def no_more_files() -> Iterator[None]:
    """NB: the limit is on numbers, so lower ones must be in use."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_out_of_descriptors_a_connection_waits_and_the_log_says_so_once(
    listener: Listener,
    path: Path,
    no_more_files: None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("pagoda_guard.shared_listener.PAUSE_AFTER_ERROR_SECONDS", 0.001)
    tries = 0
    pause = listener._shared._pause

    def count(*args: Any) -> None:
        nonlocal tries
        tries += 1
        pause(*args)

    monkeypatch.setattr(listener._shared, "_pause", count)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.setblocking(False)
    fillers = [os.open("/dev/null", os.O_RDONLY) for _ in range(3)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))), before[1]))
    while True:
        try:
            fillers.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            break
    await asyncio.get_running_loop().sock_connect(client, str(path))
    async with asyncio.timeout(30):
        while tries < 5:
            await asyncio.sleep(0.001)
    assert caplog.text.count("connections cannot be accepted error=[Errno 24] Too many open files") == 1
    resource.setrlimit(resource.RLIMIT_NOFILE, before)
    reader, writer = await asyncio.open_unix_connection(sock=client)
    writer.write(ASK)
    assert b"200 OK" in await asyncio.wait_for(reader.readline(), 30)
    writer.close()
    for filler in fillers:
        os.close(filler)


async def test_a_connection_that_asks_nothing_is_closed(
    listener: Listener, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener_module, "HEAD_SECONDS", 0.3)
    silent, slow = [await asyncio.open_unix_connection(str(path)) for _ in range(2)]
    slow[1].write(ASK[:20])
    for reader, writer in (silent, slow):
        assert await asyncio.wait_for(reader.read(), 30) == b""
        writer.close()


async def test_a_connection_that_has_asked_stays(
    listener: Listener, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(ASK)
    assert b"200 OK" in await asyncio.wait_for(reader.readline(), 30)
    assert not listener._silent
    writer.close()
