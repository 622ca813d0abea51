"""Gateways that accept from one socket: nobody is refused while one comes and another goes."""

import asyncio
import errno
import logging
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pagoda_gateway.connections import Connections, Limits
from pagoda_gateway.settings import Address, InheritedSocket, parse_listen
from pagoda_gateway.shared_listener import accept_delay_seconds, build_shared_listener
from tests.doubles.model_server import FakeModelServer

from .conftest import Client, Start, Until


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener


def share(listener: socket.socket) -> InheritedSocket:
    return InheritedSocket(os.dup(listener.fileno()))


async def test_gateway_accepts_only_while_its_server_is_ready(
    server: FakeModelServer, start: Start, client: Client, until: Until, listener: socket.socket
) -> None:
    server.ready_status = 503
    gateway = await start(listen=share(listener))
    asked = asyncio.create_task(client.get(gateway, "/ready"))
    assert (await client.session.get(f"http://127.0.0.1:{gateway.admin_port}/ready")).status == 503
    assert not asked.done()
    server.ready_status = 200
    assert (await asked).status == 200


async def test_connection_that_nobody_took_is_the_successors(
    server: FakeModelServer, start: Start, client: Client, until: Until, listener: socket.socket
) -> None:
    old = await start(listen=share(listener), drain_grace_seconds=60.0)
    await until(lambda: old._shared is not None and old._shared.accepting)
    asked = asyncio.create_task(client.post(old))
    running = await server.next_call()
    old.begin_drain()
    waiting = asyncio.create_task(client.post(old))
    new = await start(listen=share(listener))
    next_call = await server.next_call()
    assert (old.drain.in_flight, new.drain.in_flight) == (1, 1)
    await next_call.answer()
    await running.answer()
    assert [response.status for response in await asyncio.gather(asked, waiting)] == [200, 200]


async def test_kept_connection_serves_on_in_the_grace_and_is_told_to_close(
    server: FakeModelServer, start: Start, client: Client, until: Until, listener: socket.socket
) -> None:
    gateway = await start(listen=share(listener), drain_grace_seconds=60.0)
    await (await client.get(gateway, "/health")).read()
    gateway.begin_drain()
    asked = asyncio.create_task(client.post(gateway))
    await (await server.next_call()).answer()
    response = await asked
    assert (response.status, response.headers["Connection"]) == (200, "close")


async def test_idle_connection_is_closed_when_the_grace_is_over(
    start: Start, until: Until, listener: socket.socket
) -> None:
    gateway = await start(listen=share(listener))
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    gateway.begin_drain()
    async with asyncio.timeout(5):
        await reader.read()
    writer.close()


async def test_gateway_whose_server_is_gone_gives_up_its_idle_connections(
    server: FakeModelServer, start: Start, listener: socket.socket
) -> None:
    gateway = await start(listen=share(listener))
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    server.ready_status = 503
    async with asyncio.timeout(5):
        await reader.read()
    writer.close()


@contextmanager
def no_descriptor_left() -> Iterator[list[int]]:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
    opened: list[int] = []
    try:
        try:
            while True:
                opened.append(os.open(os.devnull, os.O_RDONLY))
        except OSError as error:
            assert error.errno == errno.EMFILE
        yield opened
    finally:
        for fd in opened:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


async def test_no_descriptor_left_is_said_once_and_survived(
    listener: socket.socket, until: Until, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr("pagoda_guard.shared_listener.PAUSE_AFTER_ERROR_SECONDS", 0.001)
    tries: list[int] = []
    limits = Limits(max_connections=9, header_seconds=1, idle_seconds=1, stalled_seconds=1)
    shared = build_shared_listener(
        share(listener).fd, Connections(limits, clock=lambda: 0.0, count=lambda reason: None)
    )
    accepted: list[asyncio.Protocol] = []

    def accept() -> asyncio.Protocol:
        accepted.append(asyncio.Protocol())
        return accepted[-1]

    shared.serve(accept)
    watch = shared._watch

    def watch_and_count() -> None:
        tries.append(1)
        watch()

    monkeypatch.setattr(shared, "_watch", watch_and_count)
    with socket.create_connection(listener.getsockname()):
        with no_descriptor_left():
            shared.resume()
            await until(lambda: len(tries) > 5)
            assert not accepted
        await until(lambda: len(accepted) == 1)
    shared.close()
    said = [record.getMessage() for record in caplog.records if "accepted" in record.getMessage()]
    assert len(said) == 2 and "cannot be accepted" in said[0] and "accepted again" in said[1]


def test_the_busier_gateway_waits_longer_but_never_long() -> None:
    delays = [accept_delay_seconds(connections) for connections in (0, 1, 5, 10, 1000)]
    assert delays == sorted(delays)
    assert (delays[0], delays[-1]) == (0.0, 0.005)


def test_listen_is_an_address_or_an_inherited_socket() -> None:
    assert parse_listen("0.0.0.0:8000") == Address("0.0.0.0", 8000)
    assert parse_listen("fd://6") == InheritedSocket(6)
    for wrong in ("fd://", "fd://x", "unix://6"):
        with pytest.raises(ValueError, match="neither HOST:PORT nor fd://NUMBER"):
            parse_listen(wrong)
