"""A client that ends its sending gets its answer; one that is gone frees what it asked for."""

import asyncio

import pytest

from tests.doubles.model_server import Call, FakeModelServer
from tests.doubles.raw_client import connect, post

from .conftest import Start, Until


async def gone(call: Call) -> None:
    async with asyncio.timeout(5):
        await call.gone.wait()


@pytest.mark.parametrize("version", ["1.1", "1.0"])
async def test_client_that_half_closes_gets_its_answer(
    server: FakeModelServer, start: Start, until: Until, version: str
) -> None:
    gateway = await start()
    async with connect(gateway.port) as client:
        await client.send(post(version=version))
        client.writer.write_eof()
        call = await server.next_call()
        await call.answer(b'{"a": 1}')
        assert (await client.answer()).body == b'{"a": 1}'
        assert await client.ended() == b""
    await until(lambda: len(gateway.connections) == 0)


async def test_client_that_half_closes_in_a_stream_gets_the_rest(
    server: FakeModelServer, start: Start, until: Until
) -> None:
    gateway = await start()
    async with connect(gateway.port) as client:
        await client.send(post())
        call = await server.next_call()
        await call.start_stream()
        await call.chunk(b"data: 1\n\n")
        head = await client.head()
        assert head.startswith(b"HTTP/1.1 200")
        client.writer.write_eof()
        assert await client.reader.readuntil(b"data: 1\n\n\r\n")
        assert await client.reader.readexactly(1) == b"0"  # asked whether it is there
        await call.chunk(b"data: 2\n\n")
        await call.end_stream()
        assert await client.ended() == b"9\r\ndata: 2\n\n\r\n0\r\n\r\n"
    await until(lambda: gateway.queue.running == 0)


async def test_question_between_chunks_is_no_part_of_the_answer(server: FakeModelServer, start: Start) -> None:
    gateway = await start()
    async with connect(gateway.port) as client:
        await client.send(post())
        call = await server.next_call()
        await call.start_stream()
        await client.head()
        client.writer.write_eof()
        assert await client.reader.readexactly(1) == b"0"
        await call.end_stream()
        assert await client.reader.readexactly(1) == b"0"
        assert await client.ended() == b"\r\n\r\n"  # "00": a size of zero


async def test_client_that_half_closes_keeps_its_place_in_the_queue(
    server: FakeModelServer, start: Start, until: Until
) -> None:
    gateway = await start(max_running=1, ping_seconds=0.01)
    async with connect(gateway.port) as first, connect(gateway.port) as second:
        await first.send(post())
        running = await server.next_call()
        await second.send(post(b'{"stream": true}'))
        second.writer.write_eof()
        await until(lambda: gateway.queue.queued == 1)
        await running.answer()
        call = await server.next_call()
        await call.start_stream()
        await call.chunk(b"data: 1\n\n")
        await call.end_stream()
        answer = await second.answer()
        assert (answer.status, answer.body.replace(b": ping\n\n", b"")) == (200, b"data: 1\n\n")


async def test_pipelined_requests_before_the_end_are_all_answered(server: FakeModelServer, start: Start) -> None:
    gateway = await start()
    async with connect(gateway.port) as client:
        await client.send(post() * 3)
        client.writer.write_eof()
        for number in range(3):
            await (await server.next_call()).answer(b"%d" % number)
            assert (await client.answer()).body == b"%d" % number
        assert await client.ended() == b""


@pytest.mark.parametrize("when", ["before the head", "in the stream", "in the queue"])
async def test_client_that_closes_frees_what_it_asked_for(
    server: FakeModelServer, start: Start, until: Until, when: str
) -> None:
    gateway = await start(max_running=1)
    async with connect(gateway.port) as other, connect(gateway.port) as client:
        if when == "in the queue":
            await other.send(post())
            running = await server.next_call()
        await client.send(post())
        if when == "in the queue":
            await until(lambda: gateway.queue.queued == 1)
            client.writer.close()
            await until(lambda: gateway.queue.cancelled == 1)
            await running.answer()
            return
        call = await server.next_call()
        if when == "in the stream":
            await call.start_stream()
            await call.chunk(b"data: 1\n\n")
            await client.reader.readuntil(b"data: 1\n\n\r\n")
        client.writer.close()
        await gone(call)
        await until(lambda: gateway.queue.running == 0 and len(gateway.connections) == 1)
        assert b'code="499"' in gateway.metrics.render()


async def test_client_that_half_closes_and_then_leaves_frees_what_it_asked_for(
    server: FakeModelServer, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pagoda_gateway.half_close.ASK_AT_SECONDS", (0.0, 0.3))
    monkeypatch.setattr("pagoda_gateway.half_close.LOOK_EVERY_SECONDS", 0.05)
    gateway = await start()
    async with connect(gateway.port) as client:
        await client.send(post())
        client.writer.write_eof()
        call = await server.next_call()
        assert (await client.head()).startswith(b"HTTP/1.1 100 ")
        client.writer.close()
        await gone(call)
