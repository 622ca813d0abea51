"""The answer's bytes between the two connections: every framing to every client, early ends, a slow client."""

import asyncio
import json

import aiohttp
import pytest

from tests.doubles.model_server import Call, FakeModelServer
from tests.doubles.raw_client import STREAM, connect

from .conftest import Client, Start


def build_post(*, version: str = "1.1", headers: str = "") -> bytes:
    head = f"POST /v1/completions HTTP/{version}\r\nHost: h\r\nContent-Length: {len(STREAM)}\r\n{headers}\r\n"
    return head.encode() + STREAM


@pytest.mark.parametrize("headers", ["", "Connection: keep-alive\r\n"])
async def test_http_10_client_gets_the_bytes_and_the_close(server: FakeModelServer, start: Start, headers: str) -> None:
    gateway = await start()
    async with connect(gateway.port) as stranger:
        stranger.writer.write(build_post(version="1.0", headers=headers))
        call = await server.next_call()
        await call.start_stream()
        await call.chunk(b"data: 1\n\n")
        assert b"transfer-encoding" not in (await stranger.head()).lower()
        assert await stranger.reader.readexactly(9) == b"data: 1\n\n"
        await call.chunk(b"data: 2\n\n")
        await call.end_stream()
        assert await stranger.reader.read() == b"data: 2\n\n"


async def test_http_10_client_that_keeps_its_connection_gets_a_length(server: FakeModelServer, start: Start) -> None:
    gateway = await start()
    async with connect(gateway.port) as stranger:
        for _ in range(2):
            stranger.writer.write(build_post(version="1.0", headers="Connection: keep-alive\r\n"))
            await (await server.next_call()).answer(b"{}")
            head = (await stranger.head()).lower()
            assert b"content-length: 2" in head and b"connection: keep-alive" in head
            assert await stranger.reader.readexactly(2) == b"{}"


async def test_connection_serves_again_after_a_stream(server: FakeModelServer, start: Start) -> None:
    gateway = await start()
    async with connect(gateway.port) as stranger:
        for _ in range(3):
            stranger.writer.write(build_post())
            call = await server.next_call()
            await call.start_stream()
            await call.chunk(b"data: 1\n\n")
            await call.end_stream()
            assert b"transfer-encoding: chunked" in (await stranger.head()).lower()
            assert await stranger.reader.readuntil(b"0\r\n\r\n") == b"9\r\ndata: 1\n\n\r\n0\r\n\r\n"


async def test_chunks_cut_anywhere_arrive_whole(server: FakeModelServer, start: Start, client: Client) -> None:
    gateway = await start()
    asked = asyncio.create_task(client.post(gateway))
    call = await server.next_call()
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    for byte in head + b"5\r\nhello\r\n6;x\r\n world\r\n0\r\nX-Trailer: 1\r\n\r\n":
        await call.send(bytes([byte]))
        await asyncio.sleep(0)
    assert await (await asked).read() == b"hello world"


async def test_answer_without_a_length_ends_with_its_connection(
    server: FakeModelServer, start: Start, client: Client
) -> None:
    gateway = await start()
    asked = asyncio.create_task(client.post(gateway))
    call = await server.next_call()
    await call.send(b"HTTP/1.1 200 OK\r\n\r\nhello ")
    response = await asked
    assert await response.content.readany() == b"hello "
    await call.send(b"world")
    call.writer.close()
    assert await response.read() == b"world"


async def test_empty_answers_pass(server: FakeModelServer, start: Start, client: Client) -> None:
    gateway = await start()
    for head in (b"HTTP/1.1 204 No Content\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"):
        asked = asyncio.create_task(client.post(gateway))
        call = await server.next_call()
        await call.send(b"HTTP/1.1 103 Early Hints\r\n\r\n" + head)
        response = await asked
        assert (response.status, await response.read()) == (int(head[9:12]), b"")


async def test_pinged_stream_takes_a_counted_answer(server: FakeModelServer, start: Start, client: Client) -> None:
    gateway = await start(ping_seconds=0.01)
    asked = asyncio.create_task(client.post(gateway))
    first = await server.next_call()
    streamed = await client.post(gateway, STREAM)
    await streamed.content.readuntil(b"\n\n")
    await first.answer()
    await (await server.next_call()).answer(b"data: 1\n\n", content_type="text/event-stream")
    assert (await streamed.read()).replace(b": ping\n\n", b"") == b"data: 1\n\n"
    await asked


async def test_stream_that_breaks_inside_a_chunk_is_cut(server: FakeModelServer, start: Start, client: Client) -> None:
    gateway = await start()
    asked = asyncio.create_task(client.post(gateway, STREAM))
    call = await server.next_call()
    await call.start_stream()
    await call.send(b"ff\r\ndata: half")
    response = await asked
    assert await response.content.readany() == b"data: half"
    call.writer.close()
    with pytest.raises(aiohttp.ClientError):
        await response.read()


async def test_counted_stream_that_breaks_is_cut(server: FakeModelServer, start: Start, client: Client) -> None:
    gateway = await start()
    asked = asyncio.create_task(client.post(gateway, STREAM))
    call = await server.next_call()
    await call.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 500\r\n\r\ndata: half")
    response = await asked
    call.writer.close()
    with pytest.raises(aiohttp.ClientError):
        await response.read()


async def test_framing_that_makes_no_sense_is_told(server: FakeModelServer, start: Start, client: Client) -> None:
    gateway = await start()
    asked = asyncio.create_task(client.post(gateway, STREAM))
    call = await server.next_call()
    await call.start_stream()
    await call.chunk(b"data: 1\n\n")
    await call.send(b"what\r\n")
    last = (await (await asked).read()).strip().split(b"\n\n")[-1]
    assert json.loads(last.removeprefix(b"data: "))["error"]["code"] == "upstream_broken"


@pytest.mark.parametrize("length", ["nine", "-1", "1_0"])
async def test_length_that_is_no_number_is_502(
    server: FakeModelServer, start: Start, client: Client, length: str
) -> None:
    gateway = await start()
    asked = asyncio.create_task(client.post(gateway))
    for _ in range(2):
        await (await server.next_call()).send(f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n".encode())
    response = await asked
    assert (response.status, (await response.json())["error"]["code"]) == (502, "upstream_broken")


async def test_server_that_hangs_up_at_once_is_502(server: FakeModelServer, start: Start, client: Client) -> None:
    gateway = await start()
    await server.stop()
    rude = await asyncio.start_unix_server(lambda _, writer: writer.transport.abort(), str(server.socket))
    response = await client.post(gateway)
    assert (response.status, (await response.json())["error"]["code"]) == (502, "upstream_broken")
    rude.close()


async def test_slow_client_stops_the_server_and_loses_nothing(server: FakeModelServer, start: Start) -> None:
    """NB: more than the kernel's buffers between them hold, and more turns of the loop than it would take to pass."""
    piece, count = b"x" * 64 * 1024, 512
    gateway = await start()
    async with connect(gateway.port) as stranger:
        stranger.writer.write(build_post())
        call = await server.next_call()
        await call.start_stream()
        pouring = asyncio.create_task(pour(call, piece, count))
        for _ in range(8 * count):
            await asyncio.sleep(0)
        assert not pouring.done()
        await stranger.head()
        assert len(await stranger.chunks()) == len(piece) * count
        await pouring


async def pour(call: Call, piece: bytes, count: int) -> None:
    for _ in range(count):
        await call.chunk(piece)
    await call.end_stream()
